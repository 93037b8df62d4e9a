{{/*
The container for another chart's pod. Include it in the pod's initContainers, before those that ask nowd:

      initContainers:
        {{- include "nowd.sidecar" .Subcharts.nowd | nindent 8 }}

It has no preStop hook: the hook would run when the pod begins to end, while the application still asks. The kubelet stops
a native sidecar after the application.
*/}}
{{- define "nowd.sidecar" -}}
{{- if ne (toString .Values.mode) "sidecar" }}
{{- fail (printf "nowd: the template nowd.sidecar is for mode sidecar and for nowd's own values (.Subcharts.nowd); here mode is %v" (default "not set" .Values.mode)) }}
{{- end }}
{{- /* Helm does not check a subchart's kubeVersion. */}}
{{- if not (semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version) }}
{{- fail (printf "nowd: the sidecar is an init container with restartPolicy Always, which needs Kubernetes 1.29 or later; this is %s" .Capabilities.KubeVersion.Version) }}
{{- end -}}
- {{ include "nowd.container" . | nindent 2 | trim }}
  restartPolicy: Always
  {{- with .Values.sidecar.probes }}
  {{- if .startup }}
  startupProbe:
    {{- include "nowd.startupProbe" $ | nindent 4 }}
  {{- end }}
  {{- if .liveness }}
  livenessProbe:
    {{- include "nowd.livenessProbe" $ | nindent 4 }}
  {{- end }}
  {{- if .readiness }}
  readinessProbe:
    {{- include "nowd.readinessProbe" $ | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}
