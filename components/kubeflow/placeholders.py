"""Values of parameters that a cluster replaces when a run begins."""

# Kubeflow Pipelines does so from release 2.14.0 on; an older one leaves them as they are.
RUN_NAME = "{{$.pipeline_job_name}}"
RUN_ID = "{{$.pipeline_job_uuid}}"
