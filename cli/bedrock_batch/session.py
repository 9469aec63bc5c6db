"""The boto3 session of a caller who has none."""

from __future__ import annotations

import os

import boto3

from .connection import told


def session_of(region: str = "", profile: str = "") -> boto3.Session:
    """Returns a boto3 session. A name that is "" is that of the environment. Raises InputError.

    As the AWS CLI does, and boto3 does not, it takes the Region of AWS_REGION before AWS_DEFAULT_REGION.
    """
    with told():
        return boto3.Session(
            region_name=region or os.environ.get("AWS_REGION") or None, profile_name=profile or None
        )
