{{/*
Mistakes in the values that the chart can detect and the schema cannot: a YAML list of texts. nowd checks its settings itself
when it starts.
*/}}
{{- define "nowd.mistakes" -}}
{{- $mistakes := list }}
{{- $values := .Values }}
{{- $settings := include "nowd.settings" . | fromYaml }}

{{- $taken := dict }}
{{- $on := false }}
{{- range $listener := include "nowd.listeners" . | fromYamlArray }}
{{- $on = or $on (ne .name "health") }}
{{- range .protocols }}
{{- $key := printf "%v over %s" $listener.port . }}
{{- with get $taken $key }}
{{- $mistakes = append $mistakes (printf "ports.%s and ports.%s are both %s: want a port for each" . $listener.name $key) }}
{{- else }}
{{- $_ := set $taken $key $listener.name }}
{{- end }}
{{- end }}
{{- end }}
{{- if include "nowd.peers.enabled" . }}
{{- $on = true }}
{{- with get $taken (printf "%v over UDP" .Values.peers.port) }}
{{- $mistakes = append $mistakes (printf "ports.%s and peers.port are both %v over UDP: want a port for each" . $values.peers.port) }}
{{- end }}
{{- end }}
{{- if not $on }}
{{- $mistakes = append $mistakes "ports.udp, ports.tcp, ports.daytime, ports.time and ports.ntp are all off: want a port for one of them" }}
{{- end }}

{{- $loops := max 1 (int $settings.NOWD_LOOPS) }}
{{- range list "NOWD_TCP_MAX_CONNS" "NOWD_GLOBAL_RATE_LIMIT" }}
{{- $number := get $settings . | int }}
{{- if and $number (lt $number $loops) }}
{{- $mistakes = append $mistakes (printf "settings.%s is %d, fewer than settings.NOWD_LOOPS, %d: want at least one for each loop" . $number $loops) }}
{{- end }}
{{- end }}
{{- with ($values.resources.limits | default dict).memory }}
{{- $needed := include "nowd.neededMemory" $ | int64 }}
{{- if lt (include "nowd.bytes" (toString .) | int64) $needed }}
{{- $mistakes = append $mistakes (printf "resources.limits.memory is %v, less than the %dMi that nowd can take with NOWD_TCP_MAX_CONNS=%s: want more memory or fewer connections" . (div (add $needed 1048575) 1048576) $settings.NOWD_TCP_MAX_CONNS) }}
{{- end }}
{{- end }}

{{- range $values.extraEnv }}
{{- $name := get . "name" }}
{{- if regexMatch "^NOWD_[A-Z]+_LISTEN$" $name }}
{{- $mistakes = append $mistakes (printf "extraEnv has %s: want ports.%s instead, which also sets the container's ports, the Services and the probes" $name (regexReplaceAll "^NOWD_([A-Z]+)_LISTEN$" $name "${1}" | lower)) }}
{{- else if eq $name "NOWD_XDP" }}
{{- $mistakes = append $mistakes "extraEnv has NOWD_XDP: want xdp.interface instead, which gives nowd the capabilities for it" }}
{{- else if and (regexMatch "^NOWD_" $name) (hasKey . "value") }}
{{- $mistakes = append $mistakes (printf "extraEnv has %s with a value: want it in settings, where the chart checks it" $name) }}
{{- end }}
{{- end }}

{{- if eq $values.mode "sidecar" }}
{{- if and $values.monitoring.podMonitor (eq $values.sidecar.listen "loopback") }}
{{- $mistakes = append $mistakes "monitoring.podMonitor is true and sidecar.listen is loopback, which Prometheus cannot reach: want sidecar.listen=pod" }}
{{- end }}
{{- if $values.monitoring.serviceMonitor }}
{{- $mistakes = append $mistakes "monitoring.serviceMonitor is true in mode sidecar, which has no Service: want monitoring.podMonitor" }}
{{- end }}
{{- end }}
{{- if and $values.monitoring.podMonitor $values.monitoring.serviceMonitor }}
{{- $mistakes = append $mistakes "monitoring.podMonitor and monitoring.serviceMonitor are both true, so Prometheus would scrape every pod twice: want one of them" }}
{{- end }}
{{- if and (include "nowd.xdp" .) (not (include "nowd.hostNetwork" .)) }}
{{- $mistakes = append $mistakes (printf "xdp.interface is %v, with mode=%v and daemonset.hostNetwork=%v: want mode=daemonset and daemonset.hostNetwork=true, since only a pod in the node's network has the interface" $values.xdp.interface $values.mode $values.daemonset.hostNetwork) }}
{{- end }}
{{- $text := and (ne $settings.NOWD_UDP_LISTEN "off") (le (int $settings.NOWD_UDP_MIN_REQUEST) 3) (not (has (get $settings "NOWD_FORMAT") (list "bound" "json"))) }}
{{- if and (include "nowd.xdp" .) (not $text) (not (hasKey $settings "NOWD_NTP_LISTEN")) }}
{{- $mistakes = append $mistakes (printf "xdp.interface is %v, but its driver has nothing to answer: ports.ntp is off, and ports.udp is off, settings.NOWD_FORMAT is bound or json, or settings.NOWD_UDP_MIN_REQUEST is above 3: want ports.ntp or short text requests" $values.xdp.interface) }}
{{- end }}
{{- if and (eq $values.mode "deployment") $values.deployment.autoscaling.enabled (lt (int $values.deployment.autoscaling.maxReplicas) (int $values.deployment.replicas)) }}
{{- $mistakes = append $mistakes (printf "deployment.autoscaling.maxReplicas is %v, fewer than deployment.replicas, %v: want at least as many" $values.deployment.autoscaling.maxReplicas $values.deployment.replicas) }}
{{- end }}
{{- if and $values.service.combined (or $values.service.udp $values.service.tcp) }}
{{- $mistakes = append $mistakes "service.combined is true, but service.udp and service.tcp are for separate Services: want one or the other" }}
{{- end }}
{{- toYaml $mistakes }}
{{- end }}
