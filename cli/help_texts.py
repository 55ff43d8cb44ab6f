"""Help texts that are also shown where no library is installed. Standard library alone."""

OUTPUT = "Output folder, with one subfolder per pipeline."
JSON = "Print JSON."

DOCTOR_DEEP = "Also import all libraries; slower."
DOCTOR_DATA = (
    "Data to check as `run` does: a folder or a file, here or in a bucket (s3://BUCKET/FOLDER); "
    "auto; or sample."
)
DOCTOR_CONFIG = "Configuration file of the run to check."
