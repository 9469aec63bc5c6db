# One input: files that are uploaded to to-process/ run through this model, results appear under processed/.
# Region and credentials come from the environment.

provider "aws" {}

module "batch_inference" {
  source = "../.."

  model_id = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
}
