Feature: A service that acts for us cannot be made to act for others
  S3 and EventBridge act for whoever sets them up, so what they may do here is bound to our bucket and our rules.

  @noskip
  Scenario: S3 invokes for our bucket only
    Given I have aws_lambda_permission defined
    When its principal is s3.amazonaws.com
    Then it must contain source_arn
    And its value must match the "^arn:aws[a-z-]*:s3:::[a-z0-9-]{3,30}-[0-9]{12}-[a-z]+-[a-z-]+-[0-9]$" regex

  @noskip
  Scenario: EventBridge invokes for our rules only
    Given I have aws_lambda_permission defined
    When its principal is events.amazonaws.com
    Then it must contain source_arn
    And its value must match the "^arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:rule/[a-z0-9-]{3,30}-(schedule|job-state|sweep)-[a-z]+-[a-z-]+-[0-9]$" regex

  @noskip
  Scenario Outline: Nobody else may invoke, and nothing but that is permitted
    Given I have aws_lambda_permission defined
    Then it must contain <argument>
    And its value must match the "<pattern>" regex

    Examples:
      | argument  | pattern                            |
      | principal | ^(s3\|events)[.]amazonaws[.]com$   |
      | action    | ^lambda:InvokeFunction$            |

  @noskip
  Scenario: Dead letters come from EventBridge only, and it may do no more than send them
    Given I have aws_sqs_queue_policy defined
    Then it must contain policy
    And it must contain Statement
    When its Effect is Allow
    Then it must contain Action
    And its value must be sqs:SendMessage

  @noskip
  Scenario: Of all services only EventBridge may send dead letters by the queue's policy
    Given I have aws_sqs_queue_policy defined
    Then it must contain policy
    And it must contain Statement
    When its Effect is Allow
    Then it must contain Principal
    And it must contain Service
    And its value must be events.amazonaws.com

  @noskip
  Scenario: The service role is passed to Bedrock only
    Given I have aws_iam_role_policy defined
    When its name is process-batch-jobs
    Then it must contain policy
    And it must contain Statement
    When its Action is iam:PassRole
    Then it must contain Condition
    And it must contain StringEquals
    And it must contain iam:PassedToService
    And its value must be bedrock.amazonaws.com

  @noskip
  Scenario: The role that is passed is that of the queue
    Given I have aws_iam_role_policy defined
    When its name is process-batch-jobs
    Then it must contain policy
    And it must contain Statement
    When its Action is iam:PassRole
    Then it must contain Resource
    And its value must match the "^arn:aws[a-z-]*:iam::[0-9]{12}:role/.*-bedrock-[a-z]+-[a-z-]+-[0-9]$" regex
