"""A simulated machine: the real agent over a directory, with firmware, a disk and reboots of its own.

`firmware` is what a power-on does, `machine` the loop of boots, `__main__` the command.
"""
