"""What is simulated, and how sure it is: one table, from which the code takes its errors and defaults.

RULES.md, the page for people, is made from it: `python -m bedrock_batch_simulator.rules`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .errors import ApiError, InputError

GIB = 1024**3


class Certainty(enum.Enum):
    """How sure a rule is."""

    DECLARED = "declared"
    """By the service model in botocore."""
    DOCUMENTED = "documented"
    """By AWS's documentation."""
    SEEN = "seen"
    """In live accounts, by others: `Rule.source` says where."""
    GUESSED = "guessed"
    """By us, because something has to happen."""


@dataclass(frozen=True)
class Rule:
    """One thing that the simulator does.

    `what`: what happens. `source`: where it is declared, documented or seen, or why it was guessed. `code`
    and `says`: the error that the caller gets, or the message of the job that fails, with {names} to fill in.
    `value`: a number or word that the rule is about. `setting`: the setting of `Config` that changes it.
    """

    what: str
    certainty: Certainty
    source: str
    code: str = ""
    says: str = ""
    value: Any = None
    setting: str = ""

    def text(self, **values: object) -> str:
        """The words of the rule with its {names} filled in."""
        return self.says.format(**values)

    def error(self, code: str = "", **values: object) -> ApiError:
        """The error answer; `code` is one that a setting put in the place of the rule's own."""
        return ApiError(code or self.code, self.text(**values))

    def failure(self, **values: object) -> InputError:
        """The reason for which a job fails."""
        return InputError(self.text(**values))


DECLARED, DOCUMENTED, SEEN, GUESSED = Certainty
_MODEL = "service model of `bedrock`"
_RUNTIME_MODEL = "service model of `bedrock-runtime`"
_GUIDE = "Amazon Bedrock User Guide, "
_QUOTAS = "Service Quotas, Amazon Bedrock"
_INVALID = "ValidationException"

# --- requests -----------------------------------------------------------------------------------

CONSTRAINTS = Rule(
    "A request is held against every constraint of the service model: required members, types, lengths,"
    " patterns, enums, ranges. All that is wrong is told at once.",
    DECLARED,
    f"{_MODEL}; the words, and that all is told at once, are those of other AWS services",
    _INVALID,
    "{count} validation error{s} detected: {faults}",
)
NOT_JSON = Rule(
    "A body that is no JSON object is refused.",
    GUESSED,
    "no source",
    _INVALID,
    "The request body is not {what}.",
)
QUERY_TYPE = Rule(
    "A member in the query that is not of its type is refused.",
    GUESSED,
    "no source for the words",
    _INVALID,
    "1 validation error detected: Value '{value}' at '{name}' is not a {type}",
)
MODELLED = Rule("An answer has only members of the service model, and none that is null.", DECLARED, _MODEL)

# --- create -------------------------------------------------------------------------------------

ORDER_OF_CHECKS = Rule(
    "Create looks at the request, the service role, the caller, the model and the input, in that order.",
    SEEN,
    "one library's doctor, which creates a job with an input that does not exist",
)
SAME_TOKEN = Rule(
    "The client token of an earlier job gives that job, and no error, also with other parameters.",
    DOCUMENTED,
    "API reference, CreateModelInvocationJob, clientRequestToken",
    says="The client request token was used with other parameters for job {arn}.",
    value="ignore",
    setting="token_mismatch",
)
ROLE_ACCOUNT = Rule(
    "The role must be of the job's account.",
    SEEN,
    "users' reports",
    _INVALID,
    "Cross-account pass role is not allowed: {role}",
)
ROLE_MISSING = Rule(
    "The role must exist.",
    SEEN,
    "users' reports; the words are guessed",
    _INVALID,
    "The role {role} cannot be assumed by Amazon Bedrock: it does not exist.",
    setting="check_role",
)
ROLE_TRUST = Rule(
    "The role's trust policy must let bedrock.amazonaws.com assume it, with the conditions"
    " aws:SourceAccount and aws:SourceArn evaluated.",
    DOCUMENTED,
    f"{_GUIDE}“Create a custom service role for batch inference”; the words are guessed",
    _INVALID,
    "The role {role} cannot be assumed by Amazon Bedrock: its trust policy does not allow"
    " bedrock.amazonaws.com to call sts:AssumeRole for {job}.",
    setting="check_role",
)
MODEL_ID = Rule(
    "The model must be an id or ARN of a known form, of the Region of the call.",
    SEEN,
    "users' reports",
    _INVALID,
    "The provided model identifier is invalid.",
)
NO_BATCH = Rule(
    "A model that runs no batch inference in the Region is refused.",
    SEEN,
    "four independent users' reports; which models those are: data/README.md",
    _INVALID,
    "Batch inference is not supported for the requested model.",
    setting="models.….batch, check_models",
)
BUCKET_MISSING = Rule(
    "The buckets must exist.",
    GUESSED,
    "that Create looks, and the words",
    _INVALID,
    "{side} bucket {bucket} does not exist or the service role has no access to it.",
    setting="check_buckets",
)
INPUT_MISSING = Rule(
    "The input must have an object.",
    SEEN,
    "one library's doctor; the words are guessed",
    _INVALID,
    "The input {uri} does not exist, or has no objects.",
    setting="check_input",
)
INPUT_DENIED = Rule(
    "The service role must be able to list the input.",
    GUESSED,
    "no source for Create; Validating would fail the job",
    _INVALID,
    "The service role has no access to the input {uri}.",
    setting="check_input",
)
S3_DOWN = Rule(
    "Create fails where Amazon S3 answers with a fault of its own, or cannot be reached.",
    GUESSED,
    "no source",
    "InternalServerException",
    "Amazon S3 could not be reached.",
)
SAME_NAME = Rule(
    "A job name is used once in an account and Region.",
    SEEN,
    "users' reports; the words in one project's table of troubleshooting, and of model customization in"
    " Airflow's Amazon provider, which has them as a ValidationException",
    "ConflictException",
    "The provided job name is currently in use.",
)
JOB_QUOTA = Rule(
    "More active jobs of a model than the quota are refused; all jobs of the account count.",
    DECLARED,
    f"{_MODEL}, for the error; {_QUOTAS}, for the number; the words are guessed. Some saw a Validation one",
    "ServiceQuotaExceededException",
    "You have exceeded the service quota of in-progress and submitted batch inference jobs for the model"
    " {model}: {quota}. Wait until a job has ended, or request a quota increase.",
    value=10,
    setting="models.….max_active_jobs, quota_error",
)
TIMEOUT = Rule(
    "Without timeoutDurationInHours a job has 24 hours.",
    DOCUMENTED,
    f"{_GUIDE}“Create a batch inference job”",
    value=24,
    setting="default_timeout_hours",
)

# --- life of a job ------------------------------------------------------------------------------

STATUSES = Rule(
    "A job is Submitted, Validating, Scheduled, InProgress, and then Completed, or one of the other ends.",
    DECLARED,
    f"{_MODEL}, ModelInvocationJobStatus",
    value=("Submitted", "Validating", "Scheduled", "InProgress", "Stopping"),
)
ENDS = Rule(
    "A job ends Completed (also when every record failed), PartiallyCompleted, Failed, Stopped or Expired.",
    DECLARED,
    f"{_MODEL}, ModelInvocationJobStatus; the latter seen by others",
    value=("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"),
)
DURATIONS = Rule(
    "A job spends a second each in Submitted, Validating and Scheduled, then runs 100 records a second.",
    GUESSED,
    "AWS takes minutes to hours; some 5 minutes in the queue were seen",
    setting="models.….queue_seconds, validation_seconds, schedule_seconds, records_per_second",
)
TIMED_OUT = Rule(
    "A job that has not begun when its time is up ends Expired.",
    DECLARED,
    f"{_MODEL}, ModelInvocationJobStatus; the words are guessed",
    says="The batch inference job timed out before it was completed.",
)
CUT_SHORT = Rule(
    "A job that has begun when its time is up ends PartiallyCompleted, and keeps the results it has.",
    DECLARED,
    f"{_MODEL}, ModelInvocationJobStatus; the words are guessed",
    says="The batch inference job timed out before all records were processed.",
    value="PartiallyCompleted",
    setting="timeout_status",
)
FAILED = Rule(
    "A job can fail for no reason of its own.",
    DECLARED,
    f"{_MODEL}; the words are guessed",
    says="The batch inference job failed because of an internal error.",
    setting="job_faults",
)
MODIFIED = Rule(
    "lastModifiedTime of an ended job is later than its endTime.",
    SEEN,
    "List output saved in an AWS sample notebook, January 2025: 0.4 to 1.3 s for Completed",
    value=0.4,
)
S3_REFUSED = Rule(
    "A job fails when Amazon S3 refuses what it needs.",
    GUESSED,
    "no source for the words",
    says="Amazon S3 refused access to the job's data: {error}",
)
S3_LOST = Rule(
    "A job fails when Amazon S3 cannot be reached for ten seconds.",
    GUESSED,
    "no source",
    says="Amazon S3 could not be reached: {error}",
    value=10,
)

# --- surroundings -------------------------------------------------------------------------------

BUCKET_OWNER = Rule(
    "A job fails in Validating when a bucket is not of the account in s3BucketOwner, or else of the job's,"
    " whatever its policy says.",
    SEEN,
    "users' reports; the words are guessed",
    says="{side} bucket {bucket} is not owned by the expected account.",
    setting="check_surroundings, bucket_owners",
)
INPUT_REGION = Rule(
    "A job fails when its input bucket is in another Region.",
    SEEN,
    "two projects on GitHub, langasync and vouchington, whose words end at S3URI",
    says="Could not validate ListBucket permissions for S3URI: {uri}",
    setting="check_surroundings",
)
OUTPUT_REGION = Rule(
    "A job fails when its output bucket is in another Region.",
    GUESSED,
    "as the input",
    says="Could not validate PutObject permissions to access S3 bucket: {bucket} at key {key}",
    setting="check_surroundings",
)
ROLE_LIST = Rule(
    "The service role needs s3:ListBucket on the input bucket. Its inline and attached policies decide, its"
    " permissions boundary, and the policy of the bucket.",
    SEEN,
    f"four projects on GitHub, whose words end at S3URI; {_GUIDE}“Create a custom service role for batch"
    " inference”, for the permission",
    says="Could not validate ListBucket permissions for S3URI: {uri}",
    setting="check_role, check_surroundings",
)
ROLE_GET = Rule(
    "The service role needs s3:GetObject on each input file, and kms:Decrypt on the customer managed key that"
    " encrypts it.",
    DOCUMENTED,
    f"{_GUIDE}“Create a custom service role for batch inference”, for the rule; “Troubleshooting model"
    " customization issues”, for the words, seen of batch inference too",
    says="Could not validate GetObject permissions to access S3 bucket: {bucket} at key {key}",
    setting="check_role, check_surroundings",
)
ROLE_PUT = Rule(
    "The service role needs s3:PutObject on the results, and kms:GenerateDataKey on the key in"
    " s3EncryptionKeyId.",
    DOCUMENTED,
    f"{_GUIDE}“Create a custom service role for batch inference”, for the rule; “Troubleshooting model"
    " customization issues”, for the words",
    says="Could not validate PutObject permissions to access S3 bucket: {bucket} at key {key}",
    setting="check_role, check_surroundings",
)
ROLE_INVOKE = Rule(
    "A job through an inference profile fails in progress, without results, when the service role may not"
    " invoke the profile.",
    SEEN,
    f"six projects on GitHub; {_GUIDE}“Create a custom service role for batch inference”, for the permission",
    says="Customer doesn't have permissions to invokeModel",
    setting="check_role, check_surroundings",
)
UNEVALUATED = Rule(
    "A condition, operator or policy variable that cannot be evaluated lets an Allow apply, and no Deny.",
    GUESSED,
    "so that no job fails here for what AWS lets pass; the job's state tells of it as unchecked",
    setting="check_role, check_surroundings",
)
KEY_UNUSABLE = Rule(
    "The KMS key in s3EncryptionKeyId must be there, in the job's Region, enabled, and a symmetric one for"
    " encryption.",
    GUESSED,
    "Amazon S3 User Guide, “Using server-side encryption with AWS KMS keys”, asks for it of every object;"
    " that Validating looks, and the words, are guessed",
    says="The KMS key {key} cannot encrypt the output: it {fault}.",
    setting="check_surroundings",
)
VPC_UNUSABLE = Rule(
    "The subnets and security groups of vpcConfig must be there, and of one VPC.",
    GUESSED,
    "no source for when Bedrock looks, and for the words",
    says="The VPC configuration cannot be used: {fault}",
    setting="check_surroundings",
)

BROKEN = Rule(
    "A job fails when the simulator, or what is plugged into it, breaks; the log has the traceback.",
    GUESSED,
    "so that its author sees it",
    says="The simulator failed: {error}",
)

# --- input --------------------------------------------------------------------------------------

NO_FILE = Rule(
    "The input is one .jsonl object, or all .jsonl objects of a folder, also in folders below it.",
    DOCUMENTED,
    f"{_GUIDE}“Format and upload your batch inference data”; the words are guessed",
    says="Input location {uri} has no .jsonl file, or the service role cannot read it.",
)
JOB_BYTES = Rule(
    "A job has at most 5 GiB.",
    DOCUMENTED,
    f"{_QUOTAS}; the words are guessed",
    says="Batch job {arn} has {size} bytes, more than the maximum of {limit}.",
    value=5 * GIB,
    setting="models.….max_job_bytes",
)
FILE_BYTES = Rule(
    "An input file has at most 1 GiB.",
    DOCUMENTED,
    f"{_QUOTAS}; the words are guessed",
    says="Input file {name} has {size} bytes, more than the maximum of {limit}.",
    value=GIB,
    setting="models.….max_file_bytes",
)
FILE_RECORDS = Rule(
    "An input file has at most 50,000 records.",
    DOCUMENTED,
    f"{_QUOTAS}; some models have 100,000; the words are guessed",
    says="Input file {name} contains more records ({count}) than the maximum of: {limit}.",
    value=50_000,
    setting="models.….max_records_per_file",
)
JOB_RECORDS = Rule(
    "A job has at most 50,000 records.",
    DOCUMENTED,
    f"{_QUOTAS}; some models have 100,000; the words are guessed",
    says="Batch job {arn} contains more records ({count}) than the maximum of: {limit}.",
    value=50_000,
    setting="models.….max_records_per_job",
)
MIN_RECORDS = Rule(
    "A job has at least 100 records.",
    SEEN,
    f"{_QUOTAS}; the words are those of users' reports",
    says="Batch job {arn} contains less records ({count}) than the required minimum of: {limit}.",
    value=100,
    setting="models.….min_records",
)
LINE = Rule(
    "Each line is a JSON object with a modelInput object, and a recordId that is a string or left out; lines"
    " end with LF. One other line fails the job.",
    DOCUMENTED,
    f"{_GUIDE}“Format and upload your batch inference data”; the words are guessed",
    says="Invalid input: line {line} of file {name} {fault}. Each line must be a JSON object with a"
    " modelInput object.",
)
RECORD_ID = Rule(
    "A record without a recordId gets one of eleven letters and digits.",
    DOCUMENTED,
    f"{_GUIDE}“Format and upload your batch inference data”, which has one of this form in its examples",
    value=11,
)
CHANGED = Rule(
    "A job fails when an input file changes between Validating and InProgress. Later ones are not noticed.",
    GUESSED,
    "no source",
    says="Input file {name} changed while the job was running.",
)
LINKED_MEDIA = Rule(
    "Media that a record links by S3 URI must lie in the folder that the job's input names.",
    DOCUMENTED,
    f"{_GUIDE}“Format and upload your batch inference data”; the words are guessed",
    says="The S3 URI {uri} is not under the folder that the job's input URI names.",
    code="400 of the record",
)

# --- results ------------------------------------------------------------------------------------

RESULT_KEYS = Rule(
    "Results are at {output}/{job id}/{input file name}.out, with manifest.json.out beside them.",
    DOCUMENTED,
    f"{_GUIDE}“View the results of a batch inference job”",
    value="manifest.json.out",
)
RESULT_ORDER = Rule(
    "The records of a result are not in the order of the input.",
    SEEN,
    "AWS's documentation and users' reports",
)
RESULT_ERRORS = Rule(
    "A record that failed has `error` with errorCode and errorMessage in the place of modelOutput.",
    DOCUMENTED,
    f"{_GUIDE}“View the results of a batch inference job”",
)
KEPT_RESULTS = Rule(
    "Jobs that end Stopped, Expired or PartiallyCompleted keep the results of the records they had processed;"
    " Failed ones have none, unless Amazon S3 fails them while they run.",
    DOCUMENTED,
    f"{_GUIDE}“Stop a batch inference job”; the latter is guessed",
)
RESULT_UPDATES = Rule(
    "The manifest and the outputs in S3 grow while the job is InProgress: once in 60 seconds, at most ten"
    " times.",
    DOCUMENTED,
    f"{_GUIDE}“Monitor batch inference jobs” has the progress in the manifest; that the outputs come with it,"
    " and how often, is guessed",
    value=10,
    setting="result_update_seconds",
)
ONE_OF_TWO = Rule(
    "Claude Haiku 4.5 refuses a record with both temperature and top_p; its job ends Completed.",
    SEEN,
    "one user's job of 500 records; the words are those of other users' calls on demand",
    "400 of the record",
    "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
    value="anthropic.claude-haiku-4-5",
)
CONVERSE_TOOLS = Rule(
    "toolConfig in a record of a Converse job fails that record.",
    DOCUMENTED,
    f"{_GUIDE}“Create a batch inference job”; the words are guessed",
    "400 of the record",
    "toolConfig is not supported in batch inference of type Converse.",
)

# --- get, list and stop -------------------------------------------------------------------------

NO_JOB = Rule(
    "A job that is not there, or of another account or Region, is not found.",
    DECLARED,
    f"{_MODEL}; the words are guessed",
    "ResourceNotFoundException",
    "Could not find a batch inference job {job}.",
)
MODEL_AS_ARN = Rule(
    "modelId comes back as the ARN of the foundation model, also where an id was given.",
    SEEN,
    "List output saved in an AWS sample notebook, January 2025",
)
OWNER_FILLED = Rule(
    "Both S3 configurations come back with s3BucketOwner; s3InputFormat is left out.",
    SEEN,
    "List output saved in an AWS sample notebook, January 2025",
)
SUMMARIES = Rule(
    "Summaries have no clientRequestToken, jobExpirationTime or message.",
    SEEN,
    "List output saved in an AWS sample notebook, January 2025",
    value=("clientRequestToken", "jobExpirationTime", "message"),
)
MILLISECONDS = Rule(
    "Times are told, and List is filtered by them, in whole milliseconds; both bounds are exclusive.",
    GUESSED,
    "that “after” and “before” exclude the time itself",
)
PAGE = Rule(
    "Without maxResults a page has 100 jobs.", GUESSED, "no source", value=100, setting="default_max_results"
)
BAD_PAGE = Rule(
    "A nextToken holds for a request with the same filters alone.",
    GUESSED,
    "no source",
    _INVALID,
    "The nextToken {what}.",
)
STOP_ENDED = Rule(
    "Stopping an ended job is an error.",
    SEEN,
    "the system test of Airflow's Amazon provider, which runs on AWS; the model declares Conflict too",
    _INVALID,
    "The batch inference job {arn} cannot be stopped. State was: {status}",
    value=_INVALID,
    setting="stop_ended_error",
)
STOP_SEALED = Rule(
    "A job whose last results are being written cannot be stopped any more.",
    GUESSED,
    "no source",
    "ConflictException",
    "The results of {arn} are being written.",
)

# --- tags ---------------------------------------------------------------------------------------

TAGS_GONE = Rule(
    "The tags of a job that is not there, or has ended, cannot be read or changed.",
    SEEN,
    "users' reports, of reading the tags of ended jobs; the error and the words are guessed",
    "ResourceNotFoundException",
    "Could not find resource {arn}.",
)
TAG_LIMIT = Rule(
    "A resource has at most 50 tags. Create, which declares no TooManyTagsException, refuses more of them"
    " with a ValidationException.",
    DECLARED,
    f"{_MODEL}, TooManyTagsException; the words, and the code of Create, are guessed",
    "TooManyTagsException",
    "The number of tags exceeds the limit of {limit} for {arn}.",
    value=50,
)
TAG_TWICE = Rule(
    "A tag key comes once in a request.",
    GUESSED,
    "AWS General Reference, “Tagging AWS resources”, has each key once on a resource; the rest is guessed",
    _INVALID,
    "Duplicate tag key: {key}",
)
TAG_RESERVED = Rule(
    "Tag keys that begin with aws: are AWS's own.",
    DOCUMENTED,
    "AWS General Reference, “Tagging AWS resources”; the words are guessed",
    _INVALID,
    "The tag key {key} must not begin with aws:.",
)

# --- events -------------------------------------------------------------------------------------

EVENTS = Rule(
    "Each change of status is an event, “Batch Inference Job State Change” of aws.bedrock.",
    DOCUMENTED,
    f"{_GUIDE}“Monitor batch inference with Amazon EventBridge”",
    value="Batch Inference Job State Change",
    setting="events",
)

# --- on demand ----------------------------------------------------------------------------------

THROTTLED = Rule(
    "Calls above the model's quotas are throttled.",
    DECLARED,
    _RUNTIME_MODEL,
    "ThrottlingException",
    "Too many requests, please wait before trying again.",
    setting="models.….max_concurrent_invocations, invocations_per_minute",
)
NO_TIER = Rule(
    "A service tier that the model does not have is refused.",
    SEEN,
    "users' reports",
    _INVALID,
    "The provided service tier is not supported for this model",
    setting="models.….service_tiers",
)
PROFILE_NEEDED = Rule(
    "A model that runs on demand through an inference profile alone is refused by its id.",
    SEEN,
    "users' reports",
    _INVALID,
    "Invocation of model ID {model} with on-demand throughput isn’t supported. Retry your request with the"
    " ID or ARN of an inference profile that contains this model.",
    setting="models.….on_demand_by_id, check_models",
)
MALFORMED = Rule(
    "A body of InvokeModel that is no JSON object is refused.",
    SEEN,
    "users' reports",
    _INVALID,
    "Malformed input request{what}, please reformat your input and try again.",
)

STREAMED = Rule(
    "ConverseStream and InvokeModelWithResponseStream say in parts what Converse and InvokeModel answer; an"
    " error comes before the stream, never within it. Their calls count towards the same quotas.",
    DECLARED,
    f"{_RUNTIME_MODEL}; how the text is parted is guessed",
)
STREAM_CHUNKS = Rule(
    "The chunks of InvokeModelWithResponseStream are those of the model's vendor for Anthropic, Amazon Nova"
    " and Amazon Titan Text. Any other model gives its whole body in one chunk.",
    DOCUMENTED,
    "Anthropic's and Amazon's documentation of their models; the one chunk of the others is guessed",
)
STREAM_METRICS = Rule(
    "The last chunk of InvokeModelWithResponseStream has amazon-bedrock-invocationMetrics.",
    SEEN,
    "clients that read the tokens from it, for Anthropic and Meta; for other models guessed",
)
NO_STREAM = Rule(
    "A model of embeddings answers in no stream, nor does one that the table of models has without.",
    SEEN,
    "langchain-ai/langchainjs#2645 and aws-samples/amazon-bedrock-client-for-mac#112, for other models",
    _INVALID,
    "The model is unsupported for streaming.",
    setting="check_models",
)

# --- models and inference profiles --------------------------------------------------------------

ELSEWHERE = Rule(
    "A model that cannot be called in the Region, by its id or through a profile, is refused; so is a"
    " system-defined inference profile of another geography, or of a model that has none in this one.",
    SEEN,
    "users' reports; which models and profiles are where: data/README.md",
    _INVALID,
    "The provided model identifier is invalid.",
    setting="check_models, system_inference_profiles",
)
OTHER_ACCOUNT = Rule(
    "The ARN of an inference profile of another account is refused.",
    GUESSED,
    "that Bedrock looks, and the words",
    _INVALID,
    "The provided model identifier is invalid.",
)
UNKNOWN_MODEL = Rule(
    "A model that is not in the table of models is taken, and so is one of which the table does not know"
    " whether it runs batch inference.",
    GUESSED,
    "AWS adds models each week",
    _INVALID,
    "The provided model identifier is invalid.",
    value="allow",
    setting="unknown_models",
)
BATCH_NEEDS_PROFILE = Rule(
    "A model that runs batch inference through an inference profile alone is refused by its id.",
    GUESSED,
    f"{_GUIDE}“Supported Regions and models for batch inference”, which tells both apart; the words are"
    " those for a model that runs none",
    _INVALID,
    "Batch inference is not supported for the requested model.",
    setting="models.….batch_by_id, check_models",
)
NO_MODEL = Rule(
    "GetFoundationModel finds the models that can be called in the Region, and none by the id of a profile.",
    SEEN,
    "a public project's notes; the words are those that InvokeModel had",
    "ResourceNotFoundException",
    "Could not resolve the foundation model from the provided model identifier.",
)
INFERENCE_TYPES = Rule(
    "A model that can be called through an inference profile has INFERENCE_PROFILE among its"
    " inferenceTypesSupported, which the service model does not declare; byInferenceType does not take it.",
    SEEN,
    "answers of ListFoundationModels in users' reports",
    value=("ON_DEMAND", "INFERENCE_PROFILE"),
)
BY_PROVIDER = Rule(
    "byProvider finds the provider's name in any case.",
    GUESSED,
    "AWS's examples write anthropic, and answers Anthropic",
)
NO_PROFILE = Rule(
    "GetInferenceProfile finds the profiles of the account that can be called from the Region.",
    DECLARED,
    f"{_MODEL}; the words are those of CreateInferenceProfile in a public project's notes",
    "ResourceNotFoundException",
    "Inference profile not found",
)
PROFILE_TYPE = Rule(
    "ListInferenceProfiles without typeEquals lists the system-defined profiles alone.",
    SEEN,
    "issue 9728 of aws/aws-cli",
    value="SYSTEM_DEFINED",
)
PROFILE_MODELS = Rule(
    "A profile has the model's ARN in each Region that it routes to from the Region of the call; a global one"
    " has that of the Region, and one without a Region.",
    SEEN,
    "answers saved in public repositories",
)
PROFILE_WORDS = Rule(
    "A system-defined profile is described by its model and its Regions; a global one is not described here.",
    SEEN,
    "answers saved in public repositories",
    says="Routes requests to {model} in {regions}.",
)

# --- access -------------------------------------------------------------------------------------

DENIED = Rule(
    "Where an authorizer is plugged in, each call needs the actions on the resources of the Service"
    " Authorization Reference, and Create iam:PassRole.",
    DOCUMENTED,
    "Service Authorization Reference, Amazon Bedrock",
    "AccessDeniedException",
    "{refusal}",
)

# --- bodies and answers -------------------------------------------------------------------------

BODIES = Rule(
    "The bodies of InvokeModel are those of the model's provider: Anthropic, Amazon Nova and Titan, Meta,"
    " Mistral, Cohere, AI21, DeepSeek and OpenAI as AWS documents them.",
    DOCUMENTED,
    f"{_GUIDE}“Inference request parameters and response fields for foundation models”; the words of most"
    " refusals are guessed",
)
OPEN_BODIES = Rule(
    "Gemma, GLM, Kimi, MiniMax, Nemotron, Palmyra, Qwen and newer Mistral models, and any model that is not"
    " known here, take the body of OpenAI's chat completions.",
    GUESSED,
    "documented for OpenAI's models; others saw it for some of these",
)
NO_BODY = Rule(
    "A body without messages of a model that is not known here has no built-in answer.",
    GUESSED,
    "there is nothing to answer",
    "400 of the record",
    "The simulator knows no InvokeModel body of {model}; use Converse, or bring answers of your own",
)
TOOL_CHOICE = Rule(
    "A choice of tools without tools is refused.",
    SEEN,
    "users' reports of Anthropic's models; guessed for the others",
    "400 of the record",
    "tool_choice: may only be specified while providing tools",
)
NO_TOOL = Rule(
    "A choice of a tool that is not among the tools is refused.",
    GUESSED,
    "no source for the words",
    "400 of the record",
    "Tool '{name}' not found in provided tools",
)
FORCED_TOOLS = Rule(
    "Where the choice of tools forces one, the answer uses it (the first where any may be used), with an"
    " instance of its schema as the input; without force the answer is a text.",
    DOCUMENTED,
    "API reference of `bedrock-runtime`, ToolChoice; which tool and which input is guessed",
)
SCHEMA = Rule(
    "A schema that the simulator can make no instance of is refused.",
    GUESSED,
    "a limit of the simulator",
    "400 of the record",
    "The simulator can make no instance of the schema of {what}: {why}",
)
OWN_ANSWER = Rule(
    "Where answers of the user's own fail, so does the job, and the exception is raised where time passes; a"
    " call on demand raises it.",
    GUESSED,
    "no matter of AWS",
    says="The answers given to the simulator failed for {record}: {error}",
)
TOLD_ERROR = Rule(
    "A record fails that is told to, by its recordId.",
    GUESSED,
    "no matter of AWS; the words are those of the example in AWS's documentation of results",
    "400 of the record",
    "bad request",
    setting="record_errors",
)
NO_MEDIA = Rule(
    "What cannot be said to a real model that answers is refused.",
    GUESSED,
    "a limit of the simulator",
    "400 of the record",
    "The model that answers for the simulator does not take {what}.",
)


_SECTIONS = {
    "Requests": CONSTRAINTS,
    "Create": ORDER_OF_CHECKS,
    "The life of a job": STATUSES,
    "Surroundings": BUCKET_OWNER,
    "Input": NO_FILE,
    "Results": RESULT_KEYS,
    "Get, List and Stop": NO_JOB,
    "Tags": TAGS_GONE,
    "Events": EVENTS,
    "On demand": THROTTLED,
    "Models and inference profiles": ELSEWHERE,
    "Access": DENIED,
    "Bodies and answers": BODIES,
}
"""The first rule of each section of the page."""


def rules() -> dict[str, Rule]:
    """All rules by the name that they have in the code, in the order of the page."""
    return {name: each for name, each in globals().items() if isinstance(each, Rule)}


def page() -> str:
    """RULES.md."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    first = {id(rule): title for title, rule in _SECTIONS.items()}
    counted = {each: sum(rule.certainty is each for rule in rules().values()) for each in Certainty}
    total = sum(counted.values())
    yield "# What is simulated, and how sure it is"
    yield ""
    yield "<!-- Made by `python -m bedrock_batch_simulator.rules`; do not edit. -->"
    yield ""
    yield (
        "Each row is a rule that the code takes its errors and defaults from. The authors ran nothing of it"
        " against AWS: **declared** is what the service model in botocore says, **documented** what AWS's"
        " documentation says, **seen** what others saw in live accounts, **guessed** what had to be decided."
        f" Of {total} rules, "
        + ", ".join(f"{count} are {each.value}" for each, count in counted.items())
        + "."
    )
    for rule in rules().values():
        if id(rule) in first:
            yield ""
            yield f"## {first[id(rule)]}"
            yield ""
            yield "| What happens | How sure | Source | Answer | Setting |"
            yield "|---|---|---|---|---|"
        answer = ": ".join(each for each in (rule.code and f"`{rule.code}`", rule.says) if each)
        setting = ", ".join(f"`{each}`" for each in rule.setting.split(", ") if each)
        cells = (rule.what, rule.certainty.value, rule.source, answer, setting)
        yield "| " + " | ".join(each.replace("|", "\\|").replace("\n", " ") for each in cells) + " |"


if __name__ == "__main__":
    print(page(), end="")
