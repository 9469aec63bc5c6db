# One input: files that are uploaded to to-process/ run through this model, results appear under processed/.
# Region and credentials come from the environment.

provider "aws" {}

module "batch_inference" {
  source = "../.."

  model_id = "anthropic.claude-3-5-haiku-20241022-v1:0"
}
