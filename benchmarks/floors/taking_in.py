"""The obvious way to take a document in: FastAPI, the openai SDK and asyncpg, all within the request that brings it.

The text is cut every 1,000 characters, embedded in one request and stored in one transaction. Nobody is asked who they
are, nothing is recorded, there are no words to search by, and what breaks off is lost. With DATABASE_URL and
OPENAI_BASE_URL set, run it as `uvicorn benchmarks.floors.taking_in:app`.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import uuid4

import asyncpg
from fastapi import FastAPI, Request, UploadFile
from fastapi.param_functions import File
from openai import AsyncOpenAI
from pgvector.asyncpg import register_vector

WINDOW = 1_000
MODEL = "text-embedding-3-small"
TABLES = """
CREATE TABLE IF NOT EXISTS documents (id uuid PRIMARY KEY, title text NOT NULL, content bytea NOT NULL);
CREATE TABLE IF NOT EXISTS passages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, document_id uuid NOT NULL REFERENCES documents,
    text text NOT NULL, embedding vector(1536) NOT NULL);
CREATE INDEX IF NOT EXISTS near ON passages USING hnsw (embedding vector_cosine_ops);
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """A pool and a client."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], init=register_vector) as pool, AsyncOpenAI() as client:
        await pool.execute(TABLES)
        app.state.pool, app.state.client = pool, client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """Here it is."""
    return {"status": "ok"}


@app.post("/documents", status_code=201)
async def take_in(request: Request, files: Annotated[UploadFile, File()]) -> dict[str, Any]:
    """Answers once it is found by its meaning."""
    content = await files.read()
    text = content.decode()
    passages = [text[start : start + WINDOW] for start in range(0, len(text), WINDOW)]
    answer = await request.app.state.client.embeddings.create(model=MODEL, input=passages)
    document_id = uuid4()
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        await connection.execute("INSERT INTO documents VALUES ($1, $2, $3)", document_id, files.filename, content)
        await connection.executemany(
            "INSERT INTO passages (document_id, text, embedding) VALUES ($1, $2, $3)",
            [(document_id, passage, each.embedding) for passage, each in zip(passages, answer.data, strict=True)],
        )
    return {"document_id": str(document_id)}
