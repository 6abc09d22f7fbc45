"""The model as a contract.

In: what training and evaluation left in a workspace. Out: a folder with two exported graphs, weights, the contract
that inputs must keep, a STAC MLM item and a model card, all covered by checksums, and no pickle.
"""
