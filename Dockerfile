# chunknbd in a container: the disks live in the volume /disks, NBD listens on port 10809.
#
#   docker build -t chunknbd .
#   docker run --rm -v disks:/disks chunknbd create /disks/disk.chunkdisk --size 10G
#   docker run -d -v disks:/disks -p 127.0.0.1:10809:10809 chunknbd
#
# Without TLS there is no password: publish the port to networks you trust only.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json index.ts ./
COPY device device
COPY io io
COPY nbd nbd
COPY cache cache
COPY chunkstore chunkstore
COPY cli cli
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production
COPY --from=build /app/package.json /app/package.json
COPY --from=build /app/node_modules /app/node_modules
COPY --from=build /app/dist /app/dist
RUN mkdir /disks && chown node:node /disks
USER node
VOLUME /disks
EXPOSE 10809
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
  CMD ["node", "/app/dist/cli/main.js", "info", "nbd://127.0.0.1:10809/", "--json"]
ENTRYPOINT ["node", "/app/dist/cli/main.js"]
CMD ["serve", "/disks/disk.chunkdisk", "--listen", "nbd://0.0.0.0:10809"]
