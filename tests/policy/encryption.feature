Feature: What is stored is encrypted
  Without a key of the user AWS's own keys encrypt everything; nothing is stored in the clear.

  @noskip
  Scenario: The bucket encrypts every object
    Given I have aws_s3_bucket_server_side_encryption_configuration defined
    Then it must contain rule
    And it must contain apply_server_side_encryption_by_default
    And it must contain sse_algorithm
    And its value must match the "^(AES256|aws:kms)$" regex

  @noskip
  Scenario: The table is encrypted with a key of the account
    Given I have aws_dynamodb_table defined
    Then it must contain server_side_encryption
    And it must contain enabled
    And its value must be True

  # With kms_key_arn the key takes the place of SQS's own.
  @noskip
  Scenario: Dead letters are encrypted
    Given I have aws_sqs_queue defined
    Then it must contain sqs_managed_sse_enabled
    And its value must be True
