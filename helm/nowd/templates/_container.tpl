{{/* The container that serves, the same in every mode; what sets the modes apart follows it. */}}
{{- define "nowd.container" -}}
name: nowd
image: {{ include "nowd.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
{{- range $name, $value := include "nowd.settings" . | fromYaml }}
  - name: {{ $name }}
    value: {{ $value | quote }}
{{- end }}
{{- /*
  For readers, and for the PodMonitor: an upgrade can lose one of two ports that differ in nothing but their protocol, so
  no Service and no probe refers to these names. They start with nowd- because a name is looked for in every container
  of the pod, and have at most 15 characters.
*/}}
ports:
{{- range $listener := include "nowd.listeners" . | fromYamlArray }}
{{- range .protocols }}
  - name: nowd-{{ $listener.name }}{{ if gt (len $listener.protocols) 1 }}-{{ . | lower | trunc 1 }}{{ end }}
    containerPort: {{ $listener.port }}
    protocol: {{ . }}
{{- end }}
{{- end }}
{{- with include "nowd.clockbound.volumeMounts" . }}
{{ . }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- include "nowd.securityContext" . | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* All that Pod Security's profile "restricted" asks for, and more. */}}
{{- define "nowd.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop:
    - ALL
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/*
/live tells a loop that hangs within NOWD_LIVENESS_TIMEOUT. The probe waits longer: at a CPU limit of 20m the kernel gives
nowd 2 ms in each 100 ms, so under load any answer takes several of these periods. Load alone must not restart nowd.
*/}}
{{- define "nowd.livenessProbe" -}}
httpGet:
  path: /live
  port: {{ .Values.ports.health }}
periodSeconds: 10
timeoutSeconds: 5
failureThreshold: 3
# What has hung does not end when it is asked to.
terminationGracePeriodSeconds: 5
{{- end }}

{{- define "nowd.readinessProbe" -}}
httpGet:
  path: /ready
  port: {{ .Values.ports.health }}
periodSeconds: 5
timeoutSeconds: 5
failureThreshold: 2
{{- end }}

{{- define "nowd.startupProbe" -}}
httpGet:
  path: /ready
  port: {{ .Values.ports.health }}
periodSeconds: 1
timeoutSeconds: 5
failureThreshold: 60
{{- end }}
