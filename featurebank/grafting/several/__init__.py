"""Several networks that look at the same images, for heads on joined taps of several banks; they fill a .fbmodel file.

`squares` has the input of such a model, `trunks` the networks in the file, and `networks` those of the banks.
"""
