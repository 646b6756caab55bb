"""The families of networks, one file each: a family implements `BackboneSpec` and lists its networks.

To add one, write a file here and add it to `backbone.table`. Open `squeezenet` first.
"""
