"""Networks of each form as OpenVINO's: one file a form, listed in `table`; open that first.

A conversion comes with the original network, so that the engine compares the features of both before it uses one.
"""
