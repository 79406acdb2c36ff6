"""A pipeline as producer and shipper both know it: manifest, lock, status page, launching.

Producers import these modules, so they keep their imports small.
"""
