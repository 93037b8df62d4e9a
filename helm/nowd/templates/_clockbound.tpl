{{/*
The clock's error bound in shared memory, for another chart's pod with the sidecar, if clockbound.enabled is true. The
sidecar writes it to /var/run/clockbound/shm0, the default path of ClockBound's clients.

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

{{/* Whether nowd writes that file: "true" or nothing. Only in mode sidecar: in nowd's own pods no other container reads it. */}}
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

{{/* The application's mount, read-only. */}}
{{- define "nowd.volumeMount" -}}
{{- if include "nowd.clockbound.enabled" . -}}
- name: nowd-clockbound
  mountPath: {{ include "nowd.clockbound.directory" . }}
  readOnly: true
{{- end }}
{{- end }}

{{/* The sidecar's mount. */}}
{{- define "nowd.clockbound.volumeMounts" -}}
{{- if include "nowd.clockbound.enabled" . -}}
volumeMounts:
  - name: nowd-clockbound
    mountPath: {{ include "nowd.clockbound.directory" . }}
{{- end }}
{{- end }}

{{/*
An init container that ends when the clock is trusted, so that the pod's application starts only then. With
clockbound.enabled it reads the sidecar's file, so put it after the sidecar. Otherwise it asks the kernel and the servers of
settings.NOWD_UPSTREAM. The limit is settings.NOWD_CLOCK_MAX_ERROR.
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
