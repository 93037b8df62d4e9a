{{/* The pod template of the modes deployment and daemonset. */}}
{{- define "nowd.podTemplate" -}}
metadata:
  annotations:
    # A change of the settings replaces the pods.
    checksum/settings: {{ include "nowd.settings" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- with merge (dict) .Values.podLabels .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "nowd.selectorLabels" . | nindent 4 }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "nowd.terminationGracePeriodSeconds" . }}
  {{- if include "nowd.hostNetwork" . }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- else if include "nowd.lowPort" . }}
  {{- /* nowd has no capability to bind to a low port. */}}
  securityContext:
    sysctls:
      - name: net.ipv4.ip_unprivileged_port_start
        value: "0"
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.tolerations }}
  tolerations:
    {{- toYaml .Values.tolerations | nindent 4 }}
  {{- else if eq .Values.mode "daemonset" }}
  # On every node: clients of a node without a pod would get no answer.
  tolerations:
    - operator: Exists
  {{- end }}
  containers:
    - {{ include "nowd.container" . | nindent 6 | trim }}
      livenessProbe:
        {{- include "nowd.livenessProbe" . | nindent 8 }}
      readinessProbe:
        {{- include "nowd.readinessProbe" . | nindent 8 }}
{{- end }}
