{{/*
The clock's error bound in shared memory, for another chart's pod with the sidecar, if clockbound.enabled is true. The
sidecar writes the file /var/run/clockbound/shm0, where ClockBound's clients look for it.

      initContainers:
        {{- include "nowd.sidecar" .Subcharts.nowd | nindent 8 }}
        {{- include "nowd.wait" .Subcharts.nowd | nindent 8 }}   # optional, and last
      containers:
        - name: application
          volumeMounts:
            {{- include "nowd.volumeMount" .Subcharts.nowd | nindent 12 }}
      volumes:
        {{- include "nowd.volume" .Subcharts.nowd | nindent 8 }}

Without clockbound.enabled, volume and volumeMount are empty.
*/}}

{{- define "nowd.clockbound.directory" -}}
/var/run/clockbound
{{- end }}

{{/* Whether there is such a file: "true" or nothing. Pods of nowd's own have nobody to share it with. */}}
{{- define "nowd.clockbound.enabled" -}}
{{- if and .Values.clockbound.enabled (eq .Values.mode "sidecar") }}true{{ end }}
{{- end }}

{{- define "nowd.volume" -}}
{{- if include "nowd.clockbound.enabled" . -}}
- name: nowd-clockbound
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- end }}

{{/* For the application: it only reads. */}}
{{- define "nowd.volumeMount" -}}
{{- if include "nowd.clockbound.enabled" . -}}
- name: nowd-clockbound
  mountPath: {{ include "nowd.clockbound.directory" . }}
  readOnly: true
{{- end }}
{{- end }}

{{/* For the sidecar itself. */}}
{{- define "nowd.clockbound.volumeMounts" -}}
{{- if include "nowd.clockbound.enabled" . -}}
volumeMounts:
  - name: nowd-clockbound
    mountPath: {{ include "nowd.clockbound.directory" . }}
{{- end }}
{{- end }}

{{/*
An init container that lets the pod go on only when the clock is trusted: by the sidecar's file if there is one, so put
it after the sidecar; otherwise by the kernel and settings.NOWD_UPSTREAM. settings.NOWD_CLOCK_MAX_ERROR is the limit.
*/}}
{{- define "nowd.wait" -}}
- name: nowd-wait
  image: {{ include "nowd.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command:
    - /nowd
    - wait
    {{- if include "nowd.clockbound.enabled" . }}
    - -clockbound
    - {{ include "nowd.clockbound.directory" . }}/shm0
    {{- end }}
  env:
  {{- range $name, $value := include "nowd.settings" . | fromYaml }}
    - name: {{ $name }}
      value: {{ $value | quote }}
  {{- end }}
  {{- with include "nowd.volumeMount" . }}
  volumeMounts:
    {{- . | nindent 4 }}
  {{- end }}
  resources:
    {{- include "nowd.resources" . | nindent 4 }}
  securityContext:
    {{- include "nowd.securityContext" . | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
{{- end }}
