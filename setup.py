"""Kept for tools that still look for this file; the metadata lives in setup.cfg."""

from setuptools import setup

setup()
