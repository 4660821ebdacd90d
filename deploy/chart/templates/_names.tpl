{{/* Names, labels and images, said once. */}}

{{- define "brainformer.name" -}}
{{- $name := ternary .Release.Name (printf "%s-brainformer" .Release.Name) (contains "brainformer" .Release.Name) -}}
{{- $name | trunc 26 | trimSuffix "-" -}}
{{- end -}}

{{- define "brainformer.controller" -}}{{ include "brainformer.name" . }}-controller{{- end -}}
{{- define "brainformer.database" -}}{{ include "brainformer.name" . }}-database{{- end -}}

{{- define "brainformer.secret" -}}
{{- .Values.secrets.existing | default (include "brainformer.name" .) -}}
{{- end -}}

{{- define "brainformer.tag" -}}{{ .Values.image.tag | default .Chart.AppVersion }}{{- end -}}

{{/* The image of that name: (list $ "worker-cpu"). */}}
{{- define "brainformer.image" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.image.registry -}}{{ trimSuffix "/" . }}/{{- end -}}
brainformer-{{ index . 1 }}:{{ include "brainformer.tag" $root }}
{{- end -}}

{{/* What pods of one part are found by: (list $ "controller"). */}}
{{- define "brainformer.selector" -}}
app.kubernetes.io/name: brainformer
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "brainformer.labels" -}}
{{ include "brainformer.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end -}}

{{/* The controller's settings file; a name that it does not know ends it with one sentence. */}}
{{- define "brainformer.settings" -}}
{{- $settings := dict "log_format" "json" -}}
{{- with .Values.controller.rootPath }}{{ $_ := set $settings "root_path" . }}{{ end -}}
{{- if or .Values.ingress.host .Values.controller.allowedHosts -}}
{{- $service := include "brainformer.controller" . -}}
{{- $inside := list $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc.cluster.local" $service .Release.Namespace) -}}
{{- $_ := set $settings "allowed_hosts" (concat $inside .Values.controller.allowedHosts (without (list .Values.ingress.host) "")) -}}
{{- end -}}
{{- /* JSON, which YAML contains: as YAML, Helm would write three billion as 3e+09, a string. */}}
{{- merge (deepCopy .Values.controller.settings) $settings | toPrettyJson -}}
{{- end -}}

{{- define "brainformer.url" -}}
http://{{ include "brainformer.controller" . }}.{{ .Release.Namespace }}:8700{{ trimSuffix "/" .Values.controller.rootPath }}
{{- end -}}
