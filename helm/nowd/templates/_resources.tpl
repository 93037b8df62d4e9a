{{/*
The modes' defaults for values that are empty. values.yaml has the same numbers, with the reasons.
*/}}
{{- define "nowd.modes" -}}
sidecar:    {connections: 250,  cpuRequest: 20m,  cpuLimit: 20m}
daemonset:  {connections: 2000, cpuRequest: 50m,  cpuLimit: 200m}
deployment: {connections: 4000, cpuRequest: 100m, cpuLimit: 500m}
{{- end }}

{{- define "nowd.resources" -}}
{{- $mode := index (include "nowd.modes" . | fromYaml) .Values.mode }}
{{- $resources := deepCopy .Values.resources }}
{{- $limits := $resources.limits | default dict }}
{{- $requests := $resources.requests | default dict }}
{{- $off := eq (toString $limits.cpu) "false" | or (eq (toString $limits.cpu) "off") }}
{{- if not $requests.cpu }}
{{- $_ := set $requests "cpu" (ternary $mode.cpuRequest (default $mode.cpuRequest $limits.cpu) $off) }}
{{- end }}
{{- if $off }}
{{- $_ := unset $limits "cpu" }}
{{- else if not $limits.cpu }}
{{- $_ := set $limits "cpu" $mode.cpuLimit }}
{{- end }}
{{- if not $limits.memory }}
{{- $step := mul 4 1024 1024 }}
{{- $_ := set $limits "memory" (printf "%dMi" (div (add (include "nowd.neededMemory" . | int64) $step -1) $step | mul 4)) }}
{{- end }}
{{- if not $requests.memory }}
{{- $_ := set $requests "memory" $limits.memory }}
{{- end }}
{{- toYaml (dict "requests" $requests "limits" $limits) }}
{{- end }}

{{/*
An upper bound on nowd's memory if all its connections are hostile, in bytes: tcp.MaxMemory, and what values.yaml adds for
datagrams, probes and the driver's tables. For NOWD_LOOPS=auto it assumes one loop: more change it little.
*/}}
{{- define "nowd.neededMemory" -}}
{{- $base := mul 12 1024 1024 }}
{{- $budget := mul 8 1024 1024 }}
{{- $connection := 14848 }}
{{- $datagrams := mul 2 1024 1024 }}
{{- $probes := mul 4 1024 1024 }}
{{- $driver := mul 6 1024 1024 }}
{{- $settings := include "nowd.settings" . | fromYaml }}
{{- $loops := max 1 (int $settings.NOWD_LOOPS) }}
{{- $most := int $settings.NOWD_TCP_MAX_CONNS }}
{{- $protocols := 0 }}
{{- range include "nowd.listeners" . | fromYamlArray }}
{{- if and (has "TCP" .protocols) (ne .name "health") }}
{{- $protocols = add1 $protocols }}
{{- end }}
{{- end }}
{{- $servers := mul $protocols $loops }}
{{- $ending := max 16 (div (div $most $loops) 8) | mul $servers }}
{{- $budget = max (div $budget (max 1 $servers)) (mul 256 1024) | mul $servers }}
{{- if ne (include "nowd.loopback" .) "true" }}{{ $probes = 0 }}{{ end }}
{{- if not (include "nowd.xdp" .) }}{{ $driver = 0 }}{{ end }}
{{- add $base $budget (mul $protocols $most | add $ending | mul $connection) $datagrams $probes $driver }}
{{- end }}

{{/* The bytes in a quantity of memory: (include "nowd.bytes" "40Mi"). */}}
{{- define "nowd.bytes" -}}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 }}
{{- $number := regexFind "^[0-9.]+" . }}
{{- mulf (float64 $number) (get $units (trimPrefix $number .)) | int64 }}
{{- end }}
