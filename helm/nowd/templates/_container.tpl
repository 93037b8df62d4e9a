{{/* The container that serves, the same in every mode. Its probes and restartPolicy are the mode's, and follow it. */}}
{{- define "nowd.container" -}}
name: nowd
image: {{ include "nowd.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- $extra := list }}
{{- range .Values.extraEnv }}{{ $extra = append $extra (get . "name") }}{{ end }}
env:
{{- range $name, $value := include "nowd.settings" . | fromYaml }}
{{- if not (has $name $extra) }}
  - name: {{ $name }}
    value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- if and (include "nowd.peers.enabled" .) (not (hasKey .Values.settings "NOWD_NODE")) (not (has "NOWD_NODE" $extra)) }}
  - name: NOWD_NODE
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
{{- end }}
{{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if ne (include "nowd.loopback" .) "true" }}
{{- /*
  These names are for readers and the PodMonitor. Services and probes use numbers, because an upgrade can lose one of two
  ports that differ only in their protocol. The names start with nowd- because Kubernetes looks for a name in every container
  of the pod. A name has at most 15 characters. A listener at loopback needs none.
*/}}
{{- $onHost := and (eq .Values.mode "daemonset") .Values.daemonset.hostPorts }}
ports:
{{- range $listener := include "nowd.listeners" . | fromYamlArray }}
{{- range .protocols }}
  - name: nowd-{{ $listener.name }}{{ if gt (len $listener.protocols) 1 }}-{{ . | lower | trunc 1 }}{{ end }}
    containerPort: {{ $listener.port }}
    {{- if and $onHost (ne $listener.name "health") }}
    hostPort: {{ $listener.port }}
    {{- end }}
    protocol: {{ . }}
{{- end }}
{{- end }}
{{- if include "nowd.peers.enabled" . }}
  - name: nowd-peers
    containerPort: {{ .Values.peers.port }}
    protocol: UDP
{{- end }}
{{- end }}
{{- with include "nowd.clockbound.volumeMounts" . }}
{{ . }}
{{- end }}
resources:
  {{- include "nowd.resources" . | nindent 2 }}
securityContext:
  {{- with include "nowd.capabilities" . | fromYamlArray }}
  {{- /* Kubernetes gives added capabilities to no user but root. */}}
  runAsUser: 0
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop:
      - ALL
    add:
      {{- toYaml . | nindent 6 }}
  seccompProfile:
    type: RuntimeDefault
  {{- else }}
  {{- include "nowd.securityContext" . | nindent 2 }}
  {{- end }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* More than Pod Security's level "restricted" requires. */}}
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

{{/* Whether nowd listens at loopback addresses alone: "true" or nothing. */}}
{{- define "nowd.loopback" -}}
{{- if and (eq .Values.mode "sidecar") (eq .Values.sidecar.listen "loopback") }}true{{ end }}
{{- end }}

{{- define "nowd.hostNetwork" -}}
{{- if and (eq .Values.mode "daemonset") .Values.daemonset.hostNetwork }}true{{ end }}
{{- end }}

{{- define "nowd.lowPort" -}}
{{- range include "nowd.listeners" . | fromYamlArray }}
{{- if lt (int .port) 1024 }}true{{ break }}{{ end }}
{{- end }}
{{- end }}

{{/* The capabilities that nowd needs at its start, as a YAML list. */}}
{{- define "nowd.capabilities" -}}
{{- $capabilities := list }}
{{- if include "nowd.xdp" . }}
{{- $capabilities = list "BPF" "NET_ADMIN" }}
{{- end }}
{{- /* A pod cannot set the sysctls of its node's network, so it needs a capability for a low port. */}}
{{- if and (include "nowd.hostNetwork" .) (include "nowd.lowPort" .) }}
{{- $capabilities = append $capabilities "NET_BIND_SERVICE" }}
{{- end }}
{{- toYaml $capabilities }}
{{- end }}

{{/* NOWD_XDP, or nothing if no driver answers. */}}
{{- define "nowd.xdp" -}}
{{- $interface := toString .Values.xdp.interface }}
{{- if not (has $interface (list "" "off" "false")) }}
{{- $interface }}{{ if .Values.xdp.generic }},generic{{ end }}
{{- end }}
{{- end }}

{{/*
How a probe asks: (include "nowd.ask" (list $ "/live")). If health listens at loopback, by a command in the container;
otherwise over HTTP.
*/}}
{{- define "nowd.ask" -}}
{{- $root := first . }}
{{- if include "nowd.loopback" $root -}}
exec:
  command:
    - /nowd
    - healthcheck
    {{- if eq (last .) "/ready" }}
    - -ready
    {{- end }}
{{- else -}}
httpGet:
  path: {{ last . }}
  port: {{ $root.Values.ports.health }}
{{- end }}
{{- end }}

{{/*
/live reports a loop that hangs within NOWD_LIVENESS_TIMEOUT. The probe waits longer, because load alone must not restart
nowd: at a CPU limit of 20m the kernel gives nowd 2 ms in each 100 ms. Under load an answer takes several of these periods,
and a command takes several times as many.
*/}}
{{- define "nowd.probeTimeout" -}}
{{ ternary 15 5 (eq (include "nowd.loopback" .) "true") }}
{{- end }}

{{- define "nowd.livenessProbe" -}}
{{ include "nowd.ask" (list . "/live") }}
periodSeconds: {{ include "nowd.probeTimeout" . | int | max 10 }}
timeoutSeconds: {{ include "nowd.probeTimeout" . }}
failureThreshold: 3
# A nowd that hangs ignores SIGTERM.
terminationGracePeriodSeconds: 5
{{- end }}

{{- define "nowd.readinessProbe" -}}
{{ include "nowd.ask" (list . "/ready") }}
periodSeconds: {{ include "nowd.probeTimeout" . }}
timeoutSeconds: {{ include "nowd.probeTimeout" . }}
failureThreshold: 2
{{- end }}

{{- define "nowd.startupProbe" -}}
{{- $period := ternary 5 1 (eq (include "nowd.loopback" .) "true") -}}
{{ include "nowd.ask" (list . "/ready") }}
periodSeconds: {{ $period }}
timeoutSeconds: {{ include "nowd.probeTimeout" . }}
failureThreshold: {{ max 1 (div (add (int .Values.sidecar.probes.startupSeconds) $period -1) $period) }}
{{- end }}
