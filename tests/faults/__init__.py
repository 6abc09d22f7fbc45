"""Faults on purpose: commands and tasks are killed at random moments, services and disks fail, and what is left is
compared with what an undisturbed run leaves. Started by ``make faults``; see docs/faults.md.
"""
