"""The engine that deploys templates in the sandbox, and fails as AWS does.

``stack`` and ``stack_resources`` decide in which order resources are made, changed, replaced and
removed, and how a failure ends. The engine knows no resource type: ``sandbox.services`` passes in
the types of all services. moto's own types serve for all others; ``lighter_moto`` leaves some out.
"""
