"""Killing scans at random moments, and looking at what is left of them.

`python -m tests.chaos --minutes 15` goes on for longer than the test in here does.
"""
