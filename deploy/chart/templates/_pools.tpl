{{/* A pool's Ray cluster, part by part. Each takes (dict "root" $ "name" NAME "pool" POOL). */}}

{{- define "brainformer.cluster" -}}
{{ include "brainformer.name" .root }}-{{ .name }}
{{- end -}}

{{- define "brainformer.workerImage" -}}
{{ include "brainformer.image" (list .root (printf "worker-%s" (get (dict "cpu" "cpu" "gpu" "cuda" "tpu" "tpu") .pool.platform))) }}
{{- end -}}

{{/* Trials of one node side by side; where a trial takes several hosts, of a group of these. */}}
{{- define "brainformer.trialsOfNode" -}}
{{- $trial := .pool.trial | default dict -}}
{{- if eq .pool.platform "cpu" -}}{{ div (int .pool.nodes.cpus) (int ($trial.cores | default 1)) }}
{{- else -}}{{ div (int .pool.nodes.accelerators) (max 1 (int $trial.accelerators)) }}
{{- end -}}
{{- end -}}

{{- define "brainformer.slots" -}}
{{- .pool.slots | default (mul (int .pool.nodes.max) (int (include "brainformer.trialsOfNode" .))) -}}
{{- end -}}

{{/* A driver finds its node by the raylet's process, so the dispatcher shares the head's processes. */}}
{{- define "brainformer.dispatcher" -}}
{{- $trial := .pool.trial | default dict -}}
name: dispatcher
image: {{ include "brainformer.workerImage" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
restartPolicy: Always # a side-car: it is restarted, and ends after the head's own container
command: [bash, -c]
args:
  - |
    until ray health-check --address 127.0.0.1:6379 >/dev/null 2>&1; do sleep 2; done
    exec brainformer worker --pool {{ .name }} --platform {{ .pool.platform }} --slots {{ include "brainformer.slots" . }} --cores {{ $trial.cores | default 1 }} --accelerators {{ $trial.accelerators | default 0 }}{{ with .pool.acceleratorType }} --accelerator-type {{ . }}{{ end }}{{ if gt (int .pool.nodes.hosts) 1 }} --hosts {{ .pool.nodes.hosts }} --wait-for-hosts 0 --checkpoints {{ include "brainformer.checkpoints" . }}{{ end }} --ray-address 127.0.0.1:6379
env:
  - {name: BRAINFORMER_URL, value: {{ include "brainformer.url" .root | quote }}}
  - name: BRAINFORMER_TOKEN
    valueFrom: {secretKeyRef: {name: {{ include "brainformer.secret" .root }}, key: worker-token}}
  - {name: RAY_AUTH_MODE, value: token}
  - name: RAY_AUTH_TOKEN # the operator makes this secret
    valueFrom: {secretKeyRef: {name: {{ include "brainformer.cluster" . }}, key: auth_token}}
livenessProbe: # touched every five seconds while the dispatcher's loop turns
  exec: {command: [sh, -c, "find /data/cache/brainformer/worker/alive -mmin -2 | grep -q ."]}
  initialDelaySeconds: 180
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 4
securityContext: {{- include "brainformer.containerSecurity" . | nindent 2 }}
resources:
  requests: {cpu: 500m, memory: 1Gi}
  limits: {memory: 4Gi}
volumeMounts: {{- include "brainformer.workerMounts" . | nindent 2 }}
{{- end -}}

{{- define "brainformer.checkpoints" -}}/data/cache/brainformer/worker/checkpoints{{- end -}}

{{- define "brainformer.workerMounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
- {name: ray-logs, mountPath: /tmp/ray}
- {name: shared-mem, mountPath: /dev/shm}
{{- with .pool.checkpoints }}
- {name: checkpoints, mountPath: {{ include "brainformer.checkpoints" $ }}}
{{- end }}
{{- with .pool.datasets }}
- {name: datasets, mountPath: /data/cache/brainformer/datasets, readOnly: true}
{{- end }}
{{- end -}}

{{/* ray-logs and shared-mem are the operator's names: it adds no others beside them. */}}
{{- define "brainformer.workerVolumes" -}}
- {name: data, emptyDir: {}}
- {name: tmp, emptyDir: {}}
- {name: ray-logs, emptyDir: {}}
- {name: shared-mem, emptyDir: {medium: Memory, sizeLimit: 1Gi}}
{{- with .pool.checkpoints }}
- {name: checkpoints, persistentVolumeClaim: {claimName: {{ . }}}}
{{- end }}
{{- with .pool.datasets }}
- {name: datasets, persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}}
{{- end }}
{{- end -}}

{{- define "brainformer.workerEnv" -}}
- {name: RAY_worker_niceness, value: "0"} # else every timed trial would stand behind all else
{{- end -}}

{{- define "brainformer.nodeResources" -}}
{{- $nodes := .pool.nodes -}}
{{- $name := get (dict "gpu" "nvidia.com/gpu" "tpu" "google.com/tpu") .pool.platform -}}
{{- /* Requests and limits alike: a trial's cores are its own. */ -}}
requests:
  cpu: {{ $nodes.cpus | quote }}
  memory: {{ $nodes.memory }}
  {{- if $name }}
  {{ $name }}: {{ $nodes.accelerators | quote }}
  {{- end }}
limits:
  cpu: {{ $nodes.cpus | quote }}
  memory: {{ $nodes.memory }}
  {{- if $name }}
  {{ $name }}: {{ $nodes.accelerators | quote }}
  {{- end }}
{{- end -}}

{{- define "brainformer.placement" -}}
{{- $nodes := .pool.nodes -}}
{{- $selector := $nodes.nodeSelector | default dict -}}
{{- with $nodes.tpu -}}
{{- $selector = merge (dict "cloud.google.com/gke-tpu-accelerator" .accelerator "cloud.google.com/gke-tpu-topology" .topology) $selector -}}
{{- end -}}
{{- with $selector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- $tolerations := $nodes.tolerations | default list -}}
{{- if $nodes.tpu -}}
{{- $tolerations = append $tolerations (dict "key" "google.com/tpu" "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{- if $nodes.spot -}}
{{- $tolerations = concat $tolerations (list (dict "key" "cloud.google.com/gke-spot" "operator" "Equal" "value" "true" "effect" "NoSchedule") (dict "key" "kubernetes.azure.com/scalesetpriority" "operator" "Equal" "value" "spot" "effect" "NoSchedule")) -}}
{{- end -}}
{{- with $tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if eq .pool.platform "cpu" }}
affinity: # two pods of one node would take the same cores for their own
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {app.kubernetes.io/name: brainformer, app.kubernetes.io/component: trials}
{{- end }}
{{- end -}}
