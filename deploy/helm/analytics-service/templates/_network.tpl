{{/* What pods may reach, from the same values that they are configured by. */}}

{{/* The URLs of what is not kept in a secret; empty where it is not used. */}}
{{- define "analytics-service.urls" -}}
{{- $config := .Values.config -}}
objects: {{ if dig "objects" "bucket" "" $config }}{{ dig "objects" "endpoint" "" $config | default "https://s3.amazonaws.com" }}{{ end }}
jwks: {{ dig "auth" "jwks_url" "" $config }}
consoleIssuer: {{ dig "console" "oidc_issuer" "" $config }}
otlp: {{ dig "otlp" "endpoint" "" $config }}
{{- end }}

{{/* A list of root and names of servers: rules of egress to those that are configured, and to DNS. */}}
{{- define "analytics-service.egress" -}}
{{- $root := first . -}}
{{- $network := $root.Values.networkPolicy -}}
{{- $urls := include "analytics-service.urls" $root | fromYaml -}}
{{- /* An empty list of peers would allow all of them. */ -}}
{{- with $network.dns.to -}}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}
{{- range $server := rest . }}
{{- $url := get $urls $server }}
{{- if hasKey $urls $server | ternary $url (or (ne $server "cache") $root.Values.secrets.cache.name) }}
{{- $peer := index $network $server }}
{{- $port := $peer.port }}
{{- $to := $peer.to }}
{{- with $url }}
{{- $parts := urlParse . }}
{{- $port = $port | default (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $parts.host)) | default (eq $parts.scheme "https" | ternary 443 80) | int }}
{{- if or (lt $port 1) (gt $port 65535) }}{{ fail (printf "the URL of %s: its port must be from 1 to 65535" $server) }}{{ end }}
{{- $namespace := regexReplaceAll "^[^.]+\\.([^.]+)\\.svc([.]cluster[.]local)?[.]?$" $parts.hostname "${1}" }}
{{- if and (not $to) (ne $namespace $parts.hostname) }}
{{- $to = list (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" $namespace))) }}
{{- end }}
{{- end }}
{{- if not $to }}
{{- fail (printf "networkPolicy.%s.to: must name where it is (%s), since a policy knows no names of hosts" $server ($url | default "its URL is in a secret")) }}
{{- end }}
- to:
    {{- toYaml $to | nindent 4 }}
  ports:
    - {protocol: TCP, port: {{ $port }}}
{{- if and (eq $server "broker") $root.Values.secrets.broker.streamKey }}
    - {protocol: TCP, port: {{ $peer.streamPort }}}
{{- end }}
{{- end }}
{{- end }}
{{- with $network.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}
