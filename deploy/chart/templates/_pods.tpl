{{/* What all of our pods have in common. */}}

{{- define "brainformer.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "brainformer.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "brainformer.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "brainformer.databaseUrl" -}}
- name: BRAINFORMER_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ include "brainformer.secret" . }}, key: database-url}}
{{- end -}}

{{/*
Ends the processes whose command line a pattern matches, and waits for them: (list "[w]ord" 10).
The brackets keep the pattern from matching the shell that looks for it.
*/}}
{{- define "brainformer.drain" -}}
found() {
  for process in /proc/[0-9]*; do
    if tr '\0' ' ' 2>/dev/null < "$process/cmdline" | grep -q -- '{{ index . 0 }}'; then
      echo "${process#/proc/}"
    fi
  done
}
for process in $(found); do kill -TERM "$process" 2>/dev/null || true; done
for second in $(seq {{ index . 1 }}); do
  [ -z "$(found)" ] && exit 0
  sleep 1
done
exit 0
{{- end -}}
