"""gRPC servers with the health service, as grpcio has it: FOLDER PLAIN SECURE OTHER.

At the ports PLAIN and SECURE (by TLS, with FOLDER's certificate) `shop.Cart` serves and `shop.Sick` does not; the server at
OTHER has no health service.
"""
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

folder, plain, secure, other = Path(sys.argv[1]), *sys.argv[2:]
key, certificate = (folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes()

servicer = health.HealthServicer()
servicer.set("shop.Cart", health_pb2.HealthCheckResponse.SERVING)
servicer.set("shop.Sick", health_pb2.HealthCheckResponse.NOT_SERVING)
serving = grpc.server(ThreadPoolExecutor(4))
health_pb2_grpc.add_HealthServicer_to_server(servicer, serving)
serving.add_insecure_port(f"127.0.0.1:{plain}")
serving.add_secure_port(f"127.0.0.1:{secure}", grpc.ssl_server_credentials([(key, certificate)]))
serving.start()

bare = grpc.server(ThreadPoolExecutor(1))
bare.add_insecure_port(f"127.0.0.1:{other}")
bare.start()
serving.wait_for_termination()
