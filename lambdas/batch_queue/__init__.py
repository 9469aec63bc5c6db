"""A queue for Amazon Bedrock batch inference: uploads in, one result beside each, as fast as quota allows.

Pure modules (standard library only): ``model``, ``jsonl``, ``scheduling``, ``results``.
Adapters (each wraps one service, none imports another): ``table``, ``storage``, ``bedrock``, ``functions``.
The three flows, over the adapters they are given: ``intake``, ``processor``, ``collector``.
"""
