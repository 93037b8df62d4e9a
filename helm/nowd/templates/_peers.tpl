{{/*
The nowds that measure the nodes' clocks against each other (peers.enabled), and the collector that serves what these
measurements prove (cluster.enabled).
*/}}

{{/* Whether the pods measure each other: "true" or nothing. Only in mode daemonset. */}}
{{- define "nowd.peers.enabled" -}}
{{- if and (eq .Values.mode "daemonset") (or .Values.peers.enabled .Values.cluster.enabled) }}true{{ end }}
{{- end }}

{{- define "nowd.cluster.enabled" -}}
{{- if and (eq .Values.mode "daemonset") .Values.cluster.enabled }}true{{ end }}
{{- end }}

{{/* The headless Service whose name resolves to all members. The members and the collector use it. */}}
{{- define "nowd.peers.service" -}}
{{ include "nowd.fullname" . }}-peers
{{- end }}

{{/* The collector's port. */}}
{{- define "nowd.cluster.port" -}}
8087
{{- end }}

{{/* The labels that select the collector's pod. */}}
{{- define "nowd.cluster.selectorLabels" -}}
app.kubernetes.io/name: {{ include "nowd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: collector
{{- end }}
