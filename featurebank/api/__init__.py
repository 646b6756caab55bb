"""The public functions and classes, which `import featurebank as fb` offers, one file for each subject.

They turn what people write into what the stages take, show progress, and return public objects.
"""
