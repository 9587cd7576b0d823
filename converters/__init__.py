"""Conversions from one model format to another, independent of the rest of `zoo` but for its errors.

There is none yet: every conversion will prove parity with an independent runtime before it returns.
"""
