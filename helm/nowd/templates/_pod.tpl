{{/* The pod template of the modes in which nowd has pods of its own. */}}
{{- define "nowd.podTemplate" -}}
metadata:
  labels:
    {{- include "nowd.selectorLabels" . | nindent 4 }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "nowd.terminationGracePeriodSeconds" . }}
  {{- range include "nowd.listeners" . | fromYamlArray }}
  {{- if lt (int .port) 1024 }}
  {{- /* Without capabilities there is no other way to a low port. */}}
  securityContext:
    sysctls:
      - name: net.ipv4.ip_unprivileged_port_start
        value: "0"
  {{- break }}
  {{- end }}
  {{- end }}
  containers:
    - {{ include "nowd.container" . | nindent 6 | trim }}
      livenessProbe:
        {{- include "nowd.livenessProbe" . | nindent 8 }}
      readinessProbe:
        {{- include "nowd.readinessProbe" . | nindent 8 }}
{{- end }}
