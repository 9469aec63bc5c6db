Feature: Nothing goes over the network in the clear, and nothing is open to the public

  @noskip
  Scenario Outline: Requests without TLS are refused
    Given I have <resource> defined
    Then it must contain policy
    And it must contain Statement
    When its Sid is DenyWithoutTls
    Then it must contain Condition
    And it must contain Bool
    And it must contain aws:SecureTransport
    And its value must be false

    Examples:
      | resource             |
      | aws_s3_bucket_policy |
      | aws_sqs_queue_policy |

  @noskip
  Scenario Outline: The statement about TLS is a refusal of everything for everybody
    Given I have <resource> defined
    Then it must contain policy
    And it must contain Statement
    When its Sid is DenyWithoutTls
    Then it must contain <element>
    And its value must match the "<pattern>" regex

    Examples:
      | resource             | element   | pattern   |
      | aws_s3_bucket_policy | Effect    | ^Deny$    |
      | aws_s3_bucket_policy | Principal | ^[*]$     |
      | aws_s3_bucket_policy | Action    | ^s3:[*]$  |
      | aws_sqs_queue_policy | Effect    | ^Deny$    |
      | aws_sqs_queue_policy | Principal | ^[*]$     |
      | aws_sqs_queue_policy | Action    | ^sqs:[*]$ |

  @noskip
  Scenario Outline: The bucket is closed to the public
    Given I have aws_s3_bucket_public_access_block defined
    Then it must contain <setting>
    And its value must be True

    Examples:
      | setting                 |
      | block_public_acls       |
      | block_public_policy     |
      | ignore_public_acls      |
      | restrict_public_buckets |

  @noskip
  Scenario: Access control lists are off
    Given I have aws_s3_bucket_ownership_controls defined
    Then it must contain rule
    And it must contain object_ownership
    And its value must be BucketOwnerEnforced
