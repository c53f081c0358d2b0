"""Owns the registry's settings; variables begin with REGISTRY_."""

from shared.service.config import OwnerSettings, ServiceSettings


class RegistrySettings(ServiceSettings):
    """What the running registry needs."""

    prefix = "REGISTRY_"


class RegistryOwnerSettings(OwnerSettings):
    """What migrating the registry's database needs."""

    prefix = "REGISTRY_"
