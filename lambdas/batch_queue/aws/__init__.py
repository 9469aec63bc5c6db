"""Adapters, one for each AWS service that the queue uses. No adapter calls another."""
