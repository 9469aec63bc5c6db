"""Adapters, one for each AWS service that the queue uses. None knows another."""
