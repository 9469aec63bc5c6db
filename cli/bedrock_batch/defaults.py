"""What holds unless somebody says otherwise."""

QUEUE = "br-batch-inference"  # the default of the module's input name
