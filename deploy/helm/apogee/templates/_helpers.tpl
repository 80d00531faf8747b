{{- define "apogee.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 45 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 45 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "apogee.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "apogee.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "apogee.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end }}

{{/* The addresses of all name servers, as -n and NAMESRV_ADDR take them. */}}
{{- define "apogee.namesrvs" -}}
{{- $name := printf "%s-namesrv" (include "apogee.fullname" .) }}
{{- $addrs := list }}
{{- range $i := until (int .Values.namesrv.replicas) }}
{{- $addrs = append $addrs (printf "%s-%d.%s:9876" $name $i $name) }}
{{- end }}
{{- join ";" $addrs }}
{{- end }}

{{- define "apogee.security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "apogee.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A value as broker.conf has it: numbers of a values file are floating-point ones, and 8388608 would be 8.388608e+06. */}}
{{- define "apogee.value" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}
