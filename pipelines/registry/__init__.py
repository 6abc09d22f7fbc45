"""Which model is in charge, and why.

In: a bundle of a workspace. Out: a version of the project's registered model in MLflow with the aliases
``challenger`` and ``champion``, and on each version the decision, its evidence, the approver and the former champion.
"""
