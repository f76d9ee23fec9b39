"""Suites that ship with the harness, as package data."""
