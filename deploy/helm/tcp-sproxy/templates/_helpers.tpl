{{- define "sproxy.labels" -}}
app.kubernetes.io/name: tcp-sproxy-{{ .Values.role }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "sproxy.config" -}}
{{- $status := printf ":%v" .Values.statusPort }}
{{- $own := get .Values.config .Values.role | default dict | deepCopy }}
{{- $_ := set $own (ternary "listen_addr" "status_addr" (eq .Values.role "server")) $status }}
{{- $nats := dict "url" .Values.nats.url }}
{{- if .Values.nats.credsSecret }}{{ $_ := set $nats "creds" "/etc/tcp-sproxy/secret/nats.creds" }}{{ end }}
{{- $tunnel := get .Values.config "tunnel" | default dict | deepCopy }}
{{- $_ := set $tunnel "drain_timeout" (printf "%vs" .Values.drainSeconds) }}
{{- $log := get .Values.config "log" | default (dict "format" "json") }}
{{- omit .Values.config "server" "client" | merge (dict .Values.role $own "nats" $nats "tunnel" $tunnel "log" $log "watch_config" true) | toYaml }}
{{- end }}
