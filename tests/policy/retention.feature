Feature: What is kept is kept on purpose, and what is lost can be had back

  @noskip
  Scenario: Logs are kept, and not for ever
    Given I have aws_cloudwatch_log_group defined
    Then it must contain retention_in_days
    And its value must be greater than 0

  @noskip
  Scenario: The table can be restored to any second
    Given I have aws_dynamodb_table defined
    Then it must contain point_in_time_recovery
    And it must contain enabled
    And its value must be True

  @noskip
  Scenario: What is overwritten in the bucket stays for a while
    Given I have aws_s3_bucket_versioning defined
    Then it must contain versioning_configuration
    And it must contain status
    And its value must match the "^Enabled$" regex

  @noskip
  Scenario Outline: Old versions, what is deleted from the work area and unfinished uploads expire
    Given I have aws_s3_bucket_lifecycle_configuration defined
    Then it must contain rule
    When its id is <rule>
    Then it must contain <part>
    And it must contain <days>
    And its value must be greater than 0

    Examples:
      | rule               | part                              | days                  |
      | work-area          | noncurrent_version_expiration     | noncurrent_days       |
      | reading            | expiration                        | days                  |
      | unfinished-results | abort_incomplete_multipart_upload | days_after_initiation |
      | old-versions       | noncurrent_version_expiration     | noncurrent_days       |
      | old-versions       | abort_incomplete_multipart_upload | days_after_initiation |

  @noskip
  Scenario: No rule for the bucket's contents is switched off
    Given I have aws_s3_bucket_lifecycle_configuration defined
    Then it must contain rule
    And it must contain status
    And its value must match the "^Enabled$" regex
