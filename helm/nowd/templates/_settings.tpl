{{/*
The listeners that are on, as a YAML list of

  name:      the key in .Values.ports
  port:      its number
  protocols: UDP, TCP or both

All templates take the ports from this list.
*/}}
{{- define "nowd.listeners" -}}
{{- $protocols := dict "udp" (list "UDP") "tcp" (list "TCP") "daytime" (list "UDP" "TCP") "time" (list "UDP" "TCP") "ntp" (list "UDP") "health" (list "TCP") }}
{{- $listeners := list }}
{{- range $name := list "udp" "tcp" "daytime" "time" "ntp" "health" }}
{{- with get $.Values.ports $name | int }}
{{- $listeners = append $listeners (dict "name" $name "port" . "protocols" (get $protocols $name)) }}
{{- end }}
{{- end }}
{{- toYaml $listeners }}
{{- end }}

{{/*
The requests that the Services answer, as a YAML list of

  proto:  the argument of `nowd query -proto`
  target: the Service and its port
*/}}
{{- define "nowd.questions" -}}
{{- $questions := list }}
{{- range $listener := include "nowd.listeners" . | fromYamlArray }}
{{- if ne .name "health" }}
{{- range $i, $protocol := .protocols }}
{{- $proto := $listener.name }}
{{- /* UDP comes first. TCP has "+tcp" in its name. */}}
{{- if $i }}{{ $proto = printf "%s+tcp" $proto }}{{ end }}
{{- $target := printf "%s:%v" (include "nowd.serviceName" (list $ $protocol)) $listener.port }}
{{- $questions = append $questions (dict "proto" $proto "target" $target) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $questions }}
{{- end }}

{{/* nowd's settings by name, with those that the chart derives: a YAML map of strings. */}}
{{- define "nowd.settings" -}}
{{- $connections := (index (include "nowd.modes" . | fromYaml) .Values.mode).connections }}
{{- $settings := dict "NOWD_UDP_LISTEN" "off" "NOWD_TCP_LISTEN" "off" "NOWD_TCP_MAX_CONNS" (toString $connections) }}
{{- $where := ternary "127.0.0.1:%[1]v,[::1]:%[1]v" ":%v" (eq (include "nowd.loopback" .) "true") }}
{{- range include "nowd.listeners" . | fromYamlArray }}
{{- $_ := set $settings (printf "NOWD_%s_LISTEN" (upper .name)) (printf $where .port) }}
{{- end }}
{{- if ne .Values.mode "sidecar" }}
{{- /* Every node removes an ending pod from its rules within the drain delay, before the pod stops answering. */}}
{{- $_ := set $settings "NOWD_DRAIN_DELAY" "10s" }}
{{- $_ := set $settings "NOWD_SHUTDOWN_TIMEOUT" "5s" }}
{{- end }}
{{- if include "nowd.peers.enabled" . }}
{{- /*
  The port at which the other members measure this one comes first: nowd publishes the first port as its own to the collector.
  The Service's name has no namespace, because its pods are in the same one.
*/}}
{{- $listen := list (printf ":%v" .Values.peers.port) }}
{{- with $settings.NOWD_NTP_LISTEN }}{{ $listen = append $listen . }}{{ end }}
{{- $_ := set $settings "NOWD_NTP_LISTEN" (join "," $listen) }}
{{- $_ := set $settings "NOWD_PEERS" (printf "%s:%v" (include "nowd.peers.service" .) .Values.peers.port) }}
{{- end }}
{{- if include "nowd.clockbound.enabled" . }}
{{- $_ := set $settings "NOWD_CLOCKBOUND" (printf "%s/shm0" (include "nowd.clockbound.directory" .)) }}
{{- end }}
{{- with include "nowd.xdp" . }}
{{- $_ := set $settings "NOWD_XDP" . }}
{{- end }}
{{- range $name, $value := .Values.settings }}
{{- /* A number from a values file is a float64, which would print as 1e+06. */}}
{{- if kindIs "float64" $value }}{{ $value = int64 $value }}{{ end }}
{{- /* YAML reads a bare off as false. */}}
{{- if and (eq (toString $value) "false") (has $name (list "NOWD_CLOCKBOUND" "NOWD_GLOBAL_RATE_LIMIT" "NOWD_PEERS" "NOWD_RATE_LIMIT" "NOWD_TCP_MAX_CONNS_PER_SOURCE" "NOWD_UPSTREAM")) }}{{ $value = "off" }}{{ end }}
{{- $_ := set $settings $name (toString $value) }}
{{- end }}
{{- with .Values.timeZone }}
{{- $_ := set $settings "TZ" . }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{/* Seconds for the drain, the shutdown, and 5 more. */}}
{{- define "nowd.terminationGracePeriodSeconds" -}}
{{- $settings := include "nowd.settings" . | fromYaml }}
{{- $drain := $settings.NOWD_DRAIN_DELAY | trimSuffix "s" | int }}
{{- $shutdown := $settings.NOWD_SHUTDOWN_TIMEOUT | trimSuffix "s" | int }}
{{- add $drain $shutdown 5 }}
{{- end }}
