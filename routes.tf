# The routes: their types and defaults, what is checked, their models, and their rows in the table.

locals {
  # The one place of the types of a route's attributes.
  route_types = {
    model_id             = "string"
    invocation_type      = "string"
    max_active_jobs      = "number"
    quota_code           = "string"
    reserved_slots       = "number"
    priority             = "number"
    timeout_hours        = "number"
    min_records_per_job  = "number"
    max_records_per_job  = "number"
    max_records_per_file = "number"
    max_bytes_per_file   = "number"
    max_bytes_per_job    = "number"
    pack_wait_minutes    = "number"
    undersized           = "string"
    max_record_attempts  = "number"
    media                = "bool"
    prices               = "object({ input_per_million_tokens = number, output_per_million_tokens = number })"
    tags                 = "map(string)"
  }

  # The one place of a route's defaults. An attribute whose default is null is left out of the route's row.
  route_defaults = {
    model_id             = null # the input model_id
    invocation_type      = "InvokeModel"
    max_active_jobs      = null # the input max_active_jobs
    quota_code           = null
    reserved_slots       = 0
    priority             = 50
    timeout_hours        = null # Bedrock's own
    min_records_per_job  = 100
    max_records_per_job  = 50000
    max_records_per_file = 50000
    max_bytes_per_file   = 1000000000
    max_bytes_per_job    = 5000000000
    pack_wait_minutes    = 15
    undersized           = "reject"
    max_record_attempts  = 3
    media                = false
    prices               = null
    tags                 = {}
  }

  # By attribute: the whole numbers that it takes (max null: no maximum).
  route_numbers = {
    max_active_jobs      = { min = 1, max = null, hint = "by default, the input max_active_jobs" }
    reserved_slots       = { min = 0, max = null, hint = "below max_active_jobs" }
    priority             = { min = 0, max = 100, hint = "0 is last, 100 is first" }
    timeout_hours        = { min = 24, max = 168, hint = "what Bedrock allows" }
    min_records_per_job  = { min = 1, max = null, hint = "the model's quota" }
    max_records_per_job  = { min = 1, max = null, hint = "the model's quota" }
    max_records_per_file = { min = 1, max = null, hint = "the model's quota" }
    # Less than a thousand bytes is a number of gigabytes.
    max_bytes_per_file  = { min = 1000, max = null, hint = "in bytes: 1 GB is 1000000000" }
    max_bytes_per_job   = { min = 1000, max = null, hint = "in bytes: 1 GB is 1000000000" }
    pack_wait_minutes   = { min = 0, max = 1440, hint = "0 does not wait, 1440 is a day" }
    max_record_attempts = { min = 1, max = 10, hint = "1 runs no record again" }
  }

  # By attribute: the values that it takes.
  route_choices = {
    invocation_type = ["InvokeModel", "Converse"]
    undersized      = concat(["reject"], local.one_by_one)
  }

  # The values of undersized that invoke the model for each record.
  one_by_one = ["on_demand", "flex"]

  # What is null is as if it were left out.
  written = {
    for name, route in merge({ default = {} }, var.routes) : name => {
      for attribute in keys(local.route_types) : attribute => lookup(route, attribute, null)
    }
  }
  misspelled = { for name, route in var.routes : name => setsubtract(keys(route), keys(local.route_types)) }

  # Whether Terraform can convert what is written to the attribute's type.
  fits = {
    for name, route in local.written : name => {
      for attribute, type in local.route_types : attribute => (
        type == "string" ? can(tostring(route[attribute])) :
        type == "number" ? can(tonumber(route[attribute])) :
        type == "bool" ? can(tobool(route[attribute])) :
        route[attribute] == null ? true :
        type == "map(string)" ? can([for value in values(route[attribute]) : tostring(value)]) :
        try(length(keys(route[attribute])) == 2, false) &&
        can([tonumber(route[attribute].input_per_million_tokens), tonumber(route[attribute].output_per_million_tokens)])
      )
    }
  }

  # In its type; what does not fit is one of the route's faults.
  typed = {
    for name, route in local.written : name => merge(
      { for key, type in local.route_types : key => local.fits[name][key] ? tostring(route[key]) : null if type == "string" },
      { for key, type in local.route_types : key => local.fits[name][key] ? tonumber(route[key]) : null if type == "number" },
      { for key, type in local.route_types : key => local.fits[name][key] ? tobool(route[key]) : null if type == "bool" },
      {
        prices = local.fits[name].prices && route.prices != null ? {
          input_per_million_tokens  = tonumber(route.prices.input_per_million_tokens)
          output_per_million_tokens = tonumber(route.prices.output_per_million_tokens)
        } : null
        tags = local.fits[name].tags && route.tags != null ? tomap({
          for key, value in route.tags : key => tostring(value)
        }) : null
      },
    )
  }
  routes = {
    for name, route in local.typed : name => {
      for attribute, default in merge(local.route_defaults, { model_id = var.model_id }) : attribute =>
      route[attribute] == null ? default : route[attribute]
    }
  }

  # A quota whose code is not one is left to the route's faults.
  quota_codes = toset([
    for route in local.routes : route.quota_code if can(regex(local.patterns.quota_code, route.quota_code))
  ])
  quotas = { for code, quota in data.aws_servicequotas_service_quota.active_jobs : code => quota.value }
  max_active_jobs = {
    for name, route in local.routes : name =>
    lookup(local.quotas, coalesce(route.quota_code, "none"), coalesce(route.max_active_jobs, var.max_active_jobs))
  }

  # By attribute, what to write instead of a value of another type. Numbers, prices and models have messages of their own.
  type_advice = {
    invocation_type = "text in quotes"
    media           = "true or false"
    quota_code      = "text in quotes"
    tags            = "tags in braces, such as { Team = \"summaries\" }"
    undersized      = "text in quotes"
  }

  # Everything that is wrong with a route as it is written: "" where nothing is.
  route_faults = {
    for name, route in local.routes : name => compact(concat(
      [
        for attribute in lookup(local.misspelled, name, []) :
        "${attribute} is not an attribute of a route: write one of ${join(", ", keys(local.route_types))}."
      ],
      [
        for attribute, advice in local.type_advice :
        "${attribute} is ${jsonencode(local.written[name][attribute])}: write ${advice}." if !local.fits[name][attribute]
      ],
      [
        for attribute, number in local.route_numbers : join(" ", [
          "${attribute} is ${jsonencode(local.written[name][attribute])}: write a whole number",
          number.max == null ? "of ${number.min} or more" : "from ${number.min} to ${number.max}",
          "(${number.hint}), or leave it out${local.route_defaults[attribute] == null ? "" : " for ${local.route_defaults[attribute]}"}.",
        ])
        if !local.fits[name][attribute] || route[attribute] != null && !try(
          route[attribute] >= number.min && route[attribute] <= coalesce(number.max, route[attribute]) &&
          floor(route[attribute]) == route[attribute], false
        )
      ],
      [
        for attribute, values in local.route_choices :
        "${attribute} is \"${route[attribute]}\": write \"${join("\" or \"", values)}\"."
        if !contains(values, route[attribute])
      ],
      [
        for fault in [
          {
            found = route.quota_code != null && route.max_active_jobs != null
            text  = "max_active_jobs and quota_code are both given: write only one of them."
          },
          {
            found = route.quota_code != null && !can(regex(local.patterns.quota_code, route.quota_code))
            text = join(" ", [
              "quota_code is ${jsonencode(route.quota_code)}: write the QuotaCode, such as \"L-1A2B3C4D\", that",
              "`aws service-quotas list-service-quotas --service-code bedrock` shows for the quota.",
            ])
          },
          {
            found = route.quota_code == null && route.reserved_slots >= max(1, local.max_active_jobs[name])
            text = join(" ", [
              "reserved_slots is ${route.reserved_slots} of ${local.max_active_jobs[name]} jobs, which leaves the",
              "route none: write reserved_slots below max_active_jobs.",
            ])
          },
          {
            found = route.min_records_per_job > route.max_records_per_job
            text = join(" ", [
              "min_records_per_job is ${route.min_records_per_job} and max_records_per_job is",
              "${route.max_records_per_job}: write a minimum that is not above the maximum.",
            ])
          },
          {
            found = !local.fits[name].prices || route.prices != null && !try(
              route.prices.input_per_million_tokens >= 0 && route.prices.output_per_million_tokens >= 0, false
            )
            text = join(" ", [
              "prices is ${jsonencode(local.written[name].prices)}: write two numbers of 0 or more, such as",
              "{ input_per_million_tokens = 0.4, output_per_million_tokens = 2 }, or leave it out.",
            ])
          },
          {
            found = !alltrue([
              for key, value in route.tags : !startswith(lower(key), "aws:") &&
              can(regex(local.patterns.tag_key, key)) && can(regex(local.patterns.tag_value, value))
            ])
            text = "tags is ${jsonencode(route.tags)}: ${local.advice.tags}"
          },
          {
            found = length(merge(local.tags, route.tags)) > 50
            text = join(" ", [
              "tags has ${length(route.tags)} tags, which makes ${length(merge(local.tags, route.tags))} with those of the",
              "queue. A job takes 50: write fewer here or in the input tags.",
            ])
          },
        ] : fault.text if fault.found
      ],
    ))
  }

  # What is wrong with its model. Apart from the rest, which a plan can tell also where it does not know the model yet.
  model_faults = {
    for name, route in local.routes : name => [
      for fault in [
        {
          found = name != "default" && local.written[name].model_id == null
          text  = "model_id is missing: ${local.advice.model_id}"
        },
        {
          found = !local.fits[name].model_id
          text  = "model_id is ${jsonencode(local.written[name].model_id)}: ${local.advice.model_id}"
        },
        {
          found = strcontains(route.model_id, ":provisioned-model/")
          text  = "model_id is \"${route.model_id}\", but ${local.advice.provisioned}"
        },
        {
          found = !can(regex(local.patterns.model_id, route.model_id))
          text  = "model_id is \"${route.model_id}\", which is not a model: ${local.advice.model_id}"
        },
        {
          found = contains(local.one_by_one, route.undersized) && strcontains(route.model_id, ":custom-model/")
          text = join(" ", [
            "undersized is \"${route.undersized}\", but a custom model's ARN cannot be invoked: write",
            "\"reject\".",
          ])
        },
      ] : fault.text if fault.found
    ]
  }
}

# The models of the routes, as IAM knows them.
locals {
  # us.anthropic.…, global.anthropic.…: a geography before provider.model is an inference profile.
  geography = "^(?:[a-z]{2}|us-gov|apac|global)\\."
  models = {
    for id in distinct([for route in local.routes : route.model_id]) : id => {
      system_profile      = can(regex(":inference-profile/", id)) || can(regex("${local.geography}[^.:/]+\\.", id))
      application_profile = can(regex(":application-inference-profile/", id))
    }
  }

  # By model id, what may be invoked for it: the model, or the profile and what it routes to. That is its model
  # in several Regions; behind the random id of an application inference profile it can be any model.
  profile_arns = {
    for id, model in local.models : id => [
      startswith(id, "arn:") ? id : "${local.bedrock_arn}:inference-profile/${id}",
      join("/", [
        "arn:${local.partition}:bedrock:*::foundation-model",
        model.application_profile ? "*" : replace(reverse(split("/", id))[0], "/${local.geography}/", ""),
      ]),
    ] if model.system_profile || model.application_profile
  }
  model_arns = {
    for id in keys(local.models) : id => lookup(local.profile_arns, id, [
      startswith(id, "arn:") ? id : "arn:${local.partition}:bedrock:${local.region}::foundation-model/${id}",
    ])
  }

  on_demand_arns = distinct(flatten([
    for route in local.routes : local.model_arns[route.model_id] if contains(local.one_by_one, route.undersized)
  ]))
  media = anytrue([for route in local.routes : route.media])

  # Where the objects are that records can reference.
  media_prefixes = distinct(coalesce(var.media_prefixes, [var.input_prefix]))
}

# The value that holds for the account: the increased one where there is one, else AWS's own.
data "aws_servicequotas_service_quota" "active_jobs" {
  for_each = local.quota_codes

  service_code = "bedrock"
  quota_code   = each.key

  lifecycle {
    # All of Bedrock's quotas are numbers: that of records taken for that of jobs would go unnoticed.
    postcondition {
      condition     = can(regex("(?i)submitted batch inference jobs", self.quota_name))
      error_message = <<-EOT
        The quota ${each.key} is "${self.quota_name}": write as quota_code the code of "Sum of in-progress and submitted
        batch inference jobs using a base model for" the route's model.
      EOT
    }
  }
}

resource "aws_dynamodb_table_item" "route" {
  for_each = local.routes

  table_name = aws_dynamodb_table.this.name
  hash_key   = aws_dynamodb_table.this.hash_key
  range_key  = aws_dynamodb_table.this.range_key

  item = jsonencode(merge(
    {
      pk       = { S = "route" }
      sk       = { S = each.key }
      model_id = { S = each.value.model_id }
      media    = { BOOL = each.value.media }
      tags     = { M = { for key, value in merge(local.tags, each.value.tags) : key => { S = value } } }
    },
    { for attribute in keys(local.route_choices) : attribute => { S = each.value[attribute] } },
    {
      for attribute, number in merge(each.value, { max_active_jobs = local.max_active_jobs[each.key] }) :
      attribute => { N = tostring(number) } if contains(keys(local.route_numbers), attribute) && number != null
    },
    # Clients compare the quota with max_active_jobs, which is what it was when this was applied.
    each.value.quota_code == null ? {} : { quota_code = { S = each.value.quota_code } },
    # Decimal text: a price is no binary fraction.
    each.value.prices == null ? {} : {
      input_price  = { S = tostring(each.value.prices.input_per_million_tokens) }
      output_price = { S = tostring(each.value.prices.output_per_million_tokens) }
    },
  ))

  lifecycle {
    precondition {
      condition = length(local.route_faults[each.key]) == 0
      error_message = join("\n", concat(
        ["routes[\"${each.key}\"] cannot be used as it is written:"],
        [for fault in local.route_faults[each.key] : "- ${fault}"],
      ))
    }

    precondition {
      condition = length(local.model_faults[each.key]) == 0
      error_message = join("\n", concat(
        ["routes[\"${each.key}\"] cannot be used with its model:"],
        [for fault in local.model_faults[each.key] : "- ${fault}"],
      ))
    }

    # Apart from the faults, which are known even where the queue's account and Region are not yet.
    precondition {
      condition = !can(regex("^arn:", each.value.model_id)) || can(
        regex("^arn:${local.partition}:bedrock:${local.region}:(${local.account_id})?:", each.value.model_id)
      )
      error_message = "${local.written[each.key].model_id == null ? "model_id is" : "routes[\"${each.key}\"] has the model_id"} \"${each.value.model_id}\", but the queue is in account ${local.account_id} in ${local.region} (partition ${local.partition}): write the ARN of a model or profile that is there too."
    }

    precondition {
      condition = (
        !contains(local.quota_codes, coalesce(each.value.quota_code, "none")) ||
        each.value.reserved_slots < local.max_active_jobs[each.key]
      )
      error_message = <<-EOT
        routes["${each.key}"] reserves ${each.value.reserved_slots} of the ${local.max_active_jobs[each.key]} jobs that
        its quota ${coalesce(each.value.quota_code, "of jobs")} allows in this account, which leaves the route none:
        request an increase, write fewer reserved_slots, or write max_active_jobs instead of quota_code.
      EOT
    }
  }
}
