# For sourcing: writes an image as `docker save` does, without an engine or a network: static busybox, a page that says
# which version it is, and `/healthz`.
#   image FILE REPOSITORY VERSION COMMAND-AS-JSON ARCHITECTURE [MEGABYTES-OF-NOISE]
image() {
    local build layer config
    build=$(mktemp -d "${work:?}/image.XXXXXX")
    mkdir -p "$build/root/bin" "$build/root/www" "$build/out"
    cp /bin/busybox "$build/root/bin/busybox"
    ln -s busybox "$build/root/bin/sh"
    echo "version $3" >"$build/root/www/index.html"
    echo ok >"$build/root/www/healthz"
    [ -z "${6:-}" ] || head -c "${6}M" /dev/urandom >"$build/root/noise"
    (cd "$build/root" && tar --sort=name --mtime=@0 --owner=0 --group=0 -cf "$build/layer.tar" -- *)
    layer=$(sha256sum <"$build/layer.tar" | cut -d ' ' -f 1)
    printf '{"architecture":"%s","os":"linux","config":{"Cmd":%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$5" "$4" "$layer" >"$build/config.json"
    config=$(sha256sum <"$build/config.json" | cut -d ' ' -f 1)
    mkdir "$build/out/$layer"
    mv "$build/layer.tar" "$build/out/$layer/layer.tar"
    mv "$build/config.json" "$build/out/$config.json"
    printf '[{"Config":"%s.json","RepoTags":["%s:%s"],"Layers":["%s/layer.tar"]}]' "$config" "$2" "$3" "$layer" \
        >"$build/out/manifest.json"
    tar -C "$build/out" -cf "$1" .
    rm -rf "$build"
}
serves='["/bin/busybox","httpd","-f","-p","80","-h","/www"]'
