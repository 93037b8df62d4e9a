{{- define "nowd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters, which leaves room for a suffix such as -udp: a Service's name has at most 63. */}}
{{- define "nowd.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "nowd.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The labels of all objects. */}}
{{- define "nowd.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
helm.sh/chart: {{ include "nowd.chart" . }}
app.kubernetes.io/name: {{ include "nowd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/*
The labels that select the pods that serve. The component keeps the pods of `helm test` out of the Services. The chart's
version is not among them, so that an upgrade replaces a pod only if something else in it changes.
*/}}
{{- define "nowd.selectorLabels" -}}
app.kubernetes.io/name: {{ include "nowd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{/* The Service of a protocol, UDP or TCP: (include "nowd.serviceName" (list $ "UDP")). */}}
{{- define "nowd.serviceName" -}}
{{- $root := first . }}
{{- include "nowd.fullname" $root }}{{ if not $root.Values.service.combined }}-{{ last . | lower }}{{ end }}
{{- end }}

{{/* The labels of monitors and rules: the Prometheus operator selects them by monitoring.labels. */}}
{{- define "nowd.monitoringLabels" -}}
{{- include "nowd.labels" . }}
{{- with .Values.monitoring.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "nowd.image" -}}
{{- $image := .Values.image.repository }}
{{- if or .Values.image.tag (not .Values.image.digest) }}
{{- $image = printf "%s:%s" $image (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- if .Values.image.digest }}
{{- $image = printf "%s@%s" $image .Values.image.digest }}
{{- end }}
{{- $image }}
{{- end }}
