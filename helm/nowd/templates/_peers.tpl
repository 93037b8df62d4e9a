{{/*
The nodes' clocks, measured against each other (peers.enabled), and the collector that says what that proves
(cluster.enabled).
*/}}

{{/* Whether the pods measure each other: "true" or nothing. For one on each node alone. */}}
{{- define "nowd.peers.enabled" -}}
{{- if and (eq .Values.mode "daemonset") (or .Values.peers.enabled .Values.cluster.enabled) }}true{{ end }}
{{- end }}

{{- define "nowd.cluster.enabled" -}}
{{- if and (eq .Values.mode "daemonset") .Values.cluster.enabled }}true{{ end }}
{{- end }}

{{/* The headless Service by which the members, and the collector, find all members. */}}
{{- define "nowd.peers.service" -}}
{{ include "nowd.fullname" . }}-peers
{{- end }}

{{/* Where the collector serves. */}}
{{- define "nowd.cluster.port" -}}
8087
{{- end }}

{{/* The labels by which the collector's pod is found. */}}
{{- define "nowd.cluster.selectorLabels" -}}
app.kubernetes.io/name: {{ include "nowd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: collector
{{- end }}
