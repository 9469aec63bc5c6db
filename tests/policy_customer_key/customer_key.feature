Feature: With a key of the user, everything that is stored is encrypted with it
  The plan that these hold for is that of examples/kms.

  @noskip
  Scenario: The bucket encrypts with KMS
    Given I have aws_s3_bucket_server_side_encryption_configuration defined
    Then it must contain rule
    And it must contain apply_server_side_encryption_by_default
    And it must contain sse_algorithm
    And its value must be aws:kms

  @noskip
  Scenario: The bucket encrypts with the key
    Given I have aws_s3_bucket_server_side_encryption_configuration defined
    Then it must contain rule
    And it must contain apply_server_side_encryption_by_default
    And it must contain kms_master_key_id
    And its value must match the "^arn:aws:kms:us-east-1:000000000000:key/[0-9a-f-]{36}$" regex

  @noskip
  Scenario: The table is encrypted with the key
    Given I have aws_dynamodb_table defined
    Then it must contain server_side_encryption
    And it must contain kms_key_arn
    And its value must match the "^arn:aws:kms:us-east-1:000000000000:key/[0-9a-f-]{36}$" regex

  @noskip
  Scenario Outline: Dead letters, logs and the functions' environment are encrypted with the key
    Given I have <resource> defined
    Then it must contain <argument>
    And its value must match the "^arn:aws:kms:us-east-1:000000000000:key/[0-9a-f-]{36}$" regex

    Examples:
      | resource                 | argument          |
      | aws_sqs_queue            | kms_master_key_id |
      | aws_cloudwatch_log_group | kms_key_id        |
      | aws_lambda_function      | kms_key_arn       |

  @noskip
  Scenario Outline: No role uses the key but through what stores with it
    Given I have aws_iam_role_policy defined
    When its name is <policy>
    Then it must contain policy
    And it must contain Statement
    When its Sid is <statement>
    Then it must contain Condition
    And it must contain StringEquals
    And it must contain <key>
    And its value must match the "<pattern>" regex

    Examples:
      | policy          | statement                    | key                                         | pattern                                                        |
      | runtime         | UseKeyForFilesAndDeadLetters | kms:ViaService                              | ^(s3\|sqs)[.]us-east-1[.]amazonaws[.]com$                      |
      | runtime         | UseKeyForTable               | kms:ViaService                              | ^dynamodb[.]us-east-1[.]amazonaws[.]com$                       |
      | runtime         | UseKeyForOwnEnvironment      | kms:EncryptionContext:aws:lambda:FunctionArn | ^arn:aws:lambda:us-east-1:000000000000:function:[a-z0-9-]+$    |
      | batch-inference | UseKeyForFiles               | kms:ViaService                              | ^s3[.]us-east-1[.]amazonaws[.]com$                             |
