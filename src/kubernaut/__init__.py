"""An audit trail for automated remediation on Kubernetes."""
